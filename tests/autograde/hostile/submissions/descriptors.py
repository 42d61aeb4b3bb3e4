# Opens files, pipes and sockets until there is no descriptor left.
# ruff: noqa

# %%
import os

print("tried", flush=True)
kept = []
try:
    while True:
        kept.append(os.pipe())
except OSError as error:
    print(error)
try:
    while True:
        kept.append(os.open("/dev/null", 0))
except OSError as error:
    print(error)
