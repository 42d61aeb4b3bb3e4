# Right, with cells, helpers, magics and files of its own between.
# ruff: noqa
# Earns: mean=2 scale=2 Stack=3 totals=2 model=2 words=3 initials=2
# Base: full

# %% raw
# %matplotlib inline
# %time sum(range(1000))
# !echo hello

# %%
from dataclasses import dataclass


@dataclass
class Row:
    who: str
    sum: float


with open("mine.csv", "w") as file:
    file.write("who,sum\nada,1\n")

# %%
assert len(pd.read_csv("mine.csv")) == 1
helper = lambda value: value * 2
