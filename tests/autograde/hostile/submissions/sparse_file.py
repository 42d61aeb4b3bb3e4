# Makes a file of ten terabytes that holds nothing.
# ruff: noqa

# %%
import os

print("tried", flush=True)
for size in (10**13, 10**9, 9_000_000):
    try:
        with open(f"sparse{size}", "wb") as file:
            os.truncate(file.fileno(), size)
    except OSError as error:
        print(error)
