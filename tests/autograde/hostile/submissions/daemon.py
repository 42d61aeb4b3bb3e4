# Leaves a daemon that forks twice, leads a session and ignores all signals.
# ruff: noqa
# Seconds: 30

# %%
import os, signal, time

if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in range(1, 32):
            try:
                signal.signal(number, signal.SIG_IGN)
            except OSError:
                pass
        time.sleep(600)
    os._exit(0)
print("tried")
