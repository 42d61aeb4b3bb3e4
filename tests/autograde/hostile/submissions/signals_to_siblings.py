# Stops every process with a number that it can guess.
# ruff: noqa
# Seconds: 30

# %%
import os, signal

print("tried", flush=True)
for number in range(2, 70_000):
    if number != os.getpid():
        try:
            os.kill(number, signal.SIGKILL)
        except OSError:
            pass
for name in os.listdir("/proc") if os.access("/proc", os.R_OK) else []:
    print(name)
