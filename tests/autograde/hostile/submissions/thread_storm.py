# Starts threads until it may not.
# ruff: noqa
# Seconds: 30

# %%
import threading, time

for number in range(100_000):
    try:
        threading.Thread(target=time.sleep, args=(60,), daemon=False).start()
    except (RuntimeError, MemoryError) as error:
        print("tried", number, error)
        break
