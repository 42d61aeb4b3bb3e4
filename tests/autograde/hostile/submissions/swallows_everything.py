# Loops and swallows every exception, the interrupt too.
# ruff: noqa

# %% mean
def mean(values):
    print("tried")
    while True:
        try:
            while True:
                pass
        except BaseException:
            continue
