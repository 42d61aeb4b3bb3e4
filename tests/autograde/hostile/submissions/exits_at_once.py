# Ends its process with code 0 in the middle of a test.
# ruff: noqa

# %% mean
def mean(values):
    print("tried")
    import os

    print("tried", flush=True)
    os._exit(0)


# %% Stack
class Stack:
    def __len__(self):
        print("tried")
        import os

        print("tried", flush=True)
        os._exit(0)
