# Only the class done.
# ruff: noqa
# Earns: Stack=3

# %% Stack
class Stack:
    def __init__(self):
        self._kept = []

    def push(self, item):
        self._kept.append(item)

    def pop(self):
        return self._kept.pop()

    def __len__(self):
        return len(self._kept)
