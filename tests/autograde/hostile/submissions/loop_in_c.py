# Loops in C, where no signal of Python's gets through.
# ruff: noqa

# %%
import itertools

print("tried", flush=True)
any(itertools.repeat(0))
