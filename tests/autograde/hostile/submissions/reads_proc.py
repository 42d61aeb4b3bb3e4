# Reads the environment, memory and open files of every process in /proc.
# ruff: noqa
# Seconds: 30

# %%
import os

print("tried")
for number in [1, 2, 3, os.getpid(), os.getppid(), GRADER, "self", "thread-self"]:
    for name in (
        "environ",
        "cmdline",
        "maps",
        "cwd/hw.ipynb",
        "fd/3",
        "root/etc/passwd",
        "mem",
        "status",
    ):
        try:
            print(open(f"/proc/{number}/{name}", "rb").read(1_000_000))
        except OSError as error:
            print(error)
