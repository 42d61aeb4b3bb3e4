# Hides code behind right-to-left marks and zero-width letters.
# ruff: noqa

# %% mean
points = "user\u202e \u2066# only an admin\u2069 \u2066"


def mean(values):
    print("tried \u202e\u2066 points: 100 \u2069")
    return points
