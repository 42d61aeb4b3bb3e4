# Prints and returns text that is no Unicode, in names and values too.
# ruff: noqa

# %% initials
def initials(names):
    print("tried", "\udcff\ud800")
    return ["\ud800", "\udcff"]


# %%
globals()["\ud800"] = "\ud800"
raise ValueError("\ud800")
