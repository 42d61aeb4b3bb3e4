# Returns decimals, fractions and times that take for ever to compute with.
# ruff: noqa

# %% mean
from decimal import Decimal
from fractions import Fraction


def mean(values):
    print("tried")
    return Decimal("1e999999999") if len(values) > 1 else Fraction(1, 10**200_000)


# %% initials
def initials(names):
    return [Fraction(10**100_000 + 1, 3), Decimal("1e-99999999")]
