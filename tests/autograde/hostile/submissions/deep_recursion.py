# Recurses without a limit until the stack is gone.
# ruff: noqa

# %%
import sys

print("tried", flush=True)
sys.setrecursionlimit(10**9)


def deeper(n):
    return [deeper(n + 1)]


deeper(0)
