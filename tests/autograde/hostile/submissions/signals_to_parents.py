# Kills its parent, its group, its session and everything that it can name.
# ruff: noqa
# Seconds: 30

# %%
import os, signal

for target in (os.getppid(), GRADER, 1, 0, -1, -os.getpgid(0), -os.getpgid(os.getppid() or 0)):
    if target in (0, -1) or target == -os.getpgid(0):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        os.kill(target, signal.SIGTERM)
        print("signalled", target)
    except OSError as error:
        print(error)
for target in (os.getppid(), GRADER):
    try:
        os.kill(target, signal.SIGKILL)
    except OSError as error:
        print(error)
print("tried", flush=True)
