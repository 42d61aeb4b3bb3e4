# Forks until it may not.
# ruff: noqa

# %%
import os

print("tried", flush=True)
while True:
    try:
        os.fork()
    except OSError:
        pass
