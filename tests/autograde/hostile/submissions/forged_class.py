# Describes its class with an endless line of ancestors, each a library's.
# ruff: noqa

# %%
import msgspec, os, time

print("tried")
import gc


def wire():
    """The connection to the trusted process."""
    return next(o for o in gc.get_objects() if type(o).__name__ == "Child").calls


# %% mean
def mean(values):
    print("tried")
    [
        wire().send(
            msgspec.msgpack.encode(
                [
                    n,
                    "ok",
                    {
                        "d": [
                            "name",
                            "x",
                            "module",
                            "numpy",
                            "mro",
                            [["numpy", "ndarray"]] * 9,
                            "bases",
                            [1],
                            "special",
                            ["__eq__"],
                            "methods",
                            [],
                            "doc",
                            None,
                        ]
                    },
                    [],
                    [],
                ]
            )
        )
        for n in range(1, 200)
    ]
    return 0
