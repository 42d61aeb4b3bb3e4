# Stops itself, so that nobody hears from it again.
# ruff: noqa

# %%
import os, signal

print("tried", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
