"""How the cost of a profile and of an exact comparison grows with rows and with columns.

Sizes double; at each the CPU seconds are the least of several runs, the sizes taken in turn so that
a busy moment of the machine does not fall on one of them. The exponent is the slope of the line
through log cost over log size: 1 is linear.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import process_time

import numpy as np
import pandas as pd
from report import Figure

ROWS = (1_000_000, 2_000_000, 4_000_000, 8_000_000)
COLUMNS = (4, 8, 16, 32)
TALL = 250_000  # rows of each of those
LABELS = {"rows": "rows of 2 columns", "columns": "columns of 250,000 rows"}


def in_turn(acts: Sequence[Callable[[], object]], times: int) -> list[float]:
    """The least CPU seconds of each act, all threads, over `times` rounds of all of them."""
    least = [np.inf] * len(acts)
    for _ in range(times):
        for place, act in enumerate(acts):
            begin = process_time()
            act()
            least[place] = min(least[place], process_time() - begin)
    return least


def growth(times: int = 4) -> pd.DataFrame:
    """One row a measurement: path (profile, exact), by (rows, columns), size, cpu (seconds)."""
    from mlsys.monitoring import measure_tables, profile

    rng = np.random.default_rng(5)
    tall = {f"x{i}": rng.normal(size=ROWS[-1]) for i in range(2)}
    wide = {f"x{i}": rng.normal(size=TALL) for i in range(COLUMNS[-1])}
    stored = profile(wide)
    cut = {
        "rows": [{name: x[:n] for name, x in tall.items()} for n in ROWS],
        "columns": [dict(list(wide.items())[:n]) for n in COLUMNS],
    }
    sizes = {"rows": ROWS, "columns": COLUMNS}
    keys, acts = [], []
    for by, tables in cut.items():
        for size, table in zip(sizes[by], tables):
            keys += [("profile", by, size), ("exact", by, size)]
            acts += [
                lambda table=table: profile(table, like=stored),
                lambda table=table: measure_tables(table, table),
            ]
    cpu = in_turn(acts, times)
    made = pd.DataFrame(keys, columns=["path", "by", "size"])
    return made.assign(cpu=cpu)


def exponents(measured: pd.DataFrame) -> dict[tuple[str, str], float]:
    """The slope of log cpu over log size, by (path, by)."""
    return {
        key: float(np.polyfit(np.log(part["size"]), np.log(part["cpu"]), 1)[0])
        for key, part in measured.groupby(["path", "by"])
    }


def figures(measured: pd.DataFrame) -> list[Figure]:
    """The exponents. Below 1 is what does not grow; the exact path sorts: n log n at the best."""
    return [
        Figure(
            f"{path}_by_{by}_exponent",
            slope,
            1.2 if (path, by) == ("exact", "rows") else 1.1,
            at_most=True,
            note="n log n" if (path, by) == ("exact", "rows") else "1 is linear",
        )
        for (path, by), slope in exponents(measured).items()
    ]
