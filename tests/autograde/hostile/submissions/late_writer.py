# Leaves a process that writes into the folder and the output after the cell.
# ruff: noqa

# %%
import os, time

if os.fork() == 0:
    for number in range(3000):
        print("late", number, flush=True)
        open(f"late{number}", "w").close()
        time.sleep(0.01)
    os._exit(0)
print("tried")
