# Takes from the wrong end.
# ruff: noqa
# Earns: mean=2 scale=2 totals=2 model=2 words=3 initials=2
# Base: full

# %% Stack
class Stack(list):
    def push(self, item):
        self.append(item)

    def pop(self):
        return list.pop(self, 0)
