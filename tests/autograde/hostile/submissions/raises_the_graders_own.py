# Raises the grader's own exceptions, refusal and deadline.
# ruff: noqa

# %% mean
def mean(values):
    print("tried")
    from autograde.protect.errors import Refused

    raise Refused("full marks")


# %% Stack
class Stack:
    def __len__(self):
        print("tried")
        from autograde.protect.errors import Refused

        raise Refused("full marks")
