# Writes to the descriptors of standard output for as long as it may.
# ruff: noqa

# %%
import os

print("tried", flush=True)
os.system("echo tried")
while True:
    os.write(1, b"x" * 100_000)
