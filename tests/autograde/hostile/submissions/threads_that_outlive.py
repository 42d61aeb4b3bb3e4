# Leaves threads that go on printing and changing answers.
# ruff: noqa
# Seconds: 30

# %%
import threading, time


def work():
    while True:
        globals()["mean"] = lambda values: 2
        time.sleep(0.001)


for _ in range(8):
    threading.Thread(target=work, daemon=True).start()
print("tried")


# %% mean
def mean(values):
    return 0
