# Raises KeyboardInterrupt, as if the instructor had stopped the grader.
# ruff: noqa

# %% mean
def mean(values):
    print("tried")
    raise KeyboardInterrupt


# %% Stack
class Stack:
    def __len__(self):
        print("tried")
        raise KeyboardInterrupt
