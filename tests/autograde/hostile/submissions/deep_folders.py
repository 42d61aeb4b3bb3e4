# Makes folders deeper than a path may be long, with a file in the deepest.
# ruff: noqa

# %%
import os

print("tried", flush=True)
for _ in range(3000):
    os.mkdir("d")
    os.chdir("d")
open("bottom", "w").close()
