"""What monitors say beside what was done to the data: the small comparisons of lessons 35 and 38.

`found_and_false` counts the columns that monitors name on tables spoiled on purpose; `diagnosed`
asks which kind of change rows have gone through, with and without their labels; `trips` makes a
regressor's world.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from mlsys.monitoring import lesson_figures, shift
from mlsys.monitoring.traffic import NUMBERS
from mlsys.monitoring.verdict_power import clean_table


def found_and_false(
    monitors: Sequence[str], *, days: int, seed: int = 0, rows: int = 10_000
) -> pd.DataFrame:
    """Columns a day that each monitor names: found (of the five spoiled), false (of the others)."""
    rng, said = np.random.default_rng(seed), []
    for _ in range(days):
        before = pd.DataFrame(clean_table(rng, rows))
        now = lesson_figures.spoiled_table(rng, rows)
        for monitor in monitors:
            named = lesson_figures.raised(monitor, before, now)
            found = len(named & set(lesson_figures.SPOILED))
            said.append((monitor, found, len(named) - found))
    table = pd.DataFrame(said, columns=["monitor", "found", "false"])
    return table.groupby("monitor", sort=False).mean()


def diagnosed(old: pd.DataFrame, new: pd.DataFrame, *, labelled: bool = False) -> shift.Diagnosis:
    """Which change `new` has gone through, by the inputs and the scores; `labelled`: by its labels
    too. Both are rows of `Traffic`.
    """
    known = {"labels": old["label"], "scores": old["score"], "scores_now": new["score"]}
    if labelled:
        known["labels_now"] = new["label"]
    with threadpool_limits(1):  # on little data many threads only wait
        return shift.diagnose(old[[*NUMBERS]], new[[*NUMBERS]], **known)


def trips(
    low: float, high: float, *, pace: float = 3.0, seed: int = 0, rows: int = 4_000
) -> tuple[pd.DataFrame, np.ndarray, pd.Series]:
    """Courier trips of `low` to `high` km: the inputs, the minutes promised, the minutes taken.

    A trip takes five minutes and `pace` a km, with a standard deviation of half a minute a km; the
    promise was learned at a pace of three.
    """
    rng = np.random.default_rng(seed)
    km = pd.DataFrame({"km": rng.uniform(low, high, rows)})
    return km, 5 + 3 * km["km"].to_numpy(), 5 + km["km"] * rng.normal(pace, 0.5, rows)
