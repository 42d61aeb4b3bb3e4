# Starts programs until it may not, each in a session of its own.
# ruff: noqa

# %%
import os, subprocess, sys

started = []
for _ in range(300):
    try:
        started.append(subprocess.Popen(["sleep", "60"], start_new_session=True))
    except OSError as error:
        print(error)
        break
print("tried", len(started))
