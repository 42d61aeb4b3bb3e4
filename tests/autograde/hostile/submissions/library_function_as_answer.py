# Its functions are numpy's memmap and builtins' open: called by the test, they would act there.
# ruff: noqa

# %% mean
import numpy as np

print("tried")
mean = np.memmap
# %% words
words = open
# %% scale
scale = np.load
