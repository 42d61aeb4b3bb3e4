"""What a monitor's verdicts are worth: how often it alarms on nothing, how small a move it finds.

Measured by drawing many pairs of tables whose truth is known, for our verdicts and for what
evidently, NannyML and whylogs say by default (`styles`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from mlsys.monitoring.styles import judge_like
from mlsys.monitoring.verdicts import Rules, judge

Monitor = Callable[[pd.DataFrame, pd.DataFrame], bool]
LABELS = pd.Index([f"v{i}" for i in range(5_000)])


def clean_table(rng: np.random.Generator, rows: int) -> dict[str, np.ndarray]:
    """Twenty columns as one meets them: bell-shaped, skewed, heavy-tailed, whole, two-humped
    numbers; categories of 2 to 200 values."""
    table = {f"normal {i}": rng.normal(size=rows) for i in range(5)}
    table |= {f"lognormal {i}": rng.lognormal(size=rows) for i in range(3)}
    table |= {f"exponential {i}": rng.exponential(size=rows) for i in range(3)}
    table["uniform"] = rng.random(rows)
    table["whole"] = rng.poisson(3, rows).astype(float)
    table["two humps"] = rng.normal(size=rows) + 4 * (rng.random(rows) < 0.5)
    table["heavy"] = rng.standard_t(3, rows)
    for values, skew in ((2, 1.0), (5, 0.5), (10, 0.0), (50, 0.0), (200, 1.1)):
        weights = 1 / np.arange(1, values + 1) ** skew
        codes = rng.choice(values, rows, p=weights / weights.sum())
        table[f"category of {values}"] = pd.Categorical.from_codes(
            codes, [f"v{i}" for i in range(values)]
        )
    return table


def wide_table(rng: np.random.Generator, rows: int) -> dict[str, np.ndarray]:
    """`clean_table` and four columns that are hard to keep quiet about: two of many values, codes
    of which one is rare, and texts."""
    table = clean_table(rng, rows)
    table["code"] = rng.choice((0.0, 1.0, 2.0, 9.0), rows, p=(0.6, 0.3, 0.09, 0.01))
    for values, skew in ((200, 0.0), (5_000, 0.8)):
        weights = 1 / np.arange(1, values + 1) ** skew
        codes = rng.choice(values, rows, p=weights / weights.sum())
        name = f"category of {values:,} (skew {skew:g})"
        table[name] = pd.Categorical.from_codes(codes, LABELS[:values])
    words = LABELS.to_numpy()[rng.zipf(1.3, (rows, 8)).clip(max=5_000) - 1]
    lengths = rng.integers(3, 9, rows).tolist()
    table["text"] = np.array([" ".join(row[:n]) for row, n in zip(words, lengths)], dtype=object)
    return table


def false_alarms(
    rows: int, *, replications: int = 1000, rules: Rules | None = None, seed: int = 0
) -> float:
    """The share of reports on clean tables (`rows` against `rows`, 24 columns) that name any."""
    rng = np.random.default_rng(seed)
    wrong = sum(
        bool(judge(wide_table(rng, rows), wide_table(rng, rows), rules=rules).drifted)
        for _ in range(replications)
    )
    return wrong / replications


def ours(reference: pd.DataFrame, current: pd.DataFrame) -> bool:
    return bool(judge(reference, current).drifted)


def evidently(reference: pd.DataFrame, current: pd.DataFrame) -> bool:
    return bool(judge_like("evidently", reference, current)["drifted"].any())


def nannyml(reference: pd.DataFrame, current: pd.DataFrame) -> bool:
    """Its default method, Jensen–Shannon, on the first of ten chunks."""
    found = judge_like("nannyml", reference, current, methods=["jensen_shannon"])
    return bool(found["drifted"].any())


def whylogs(reference: pd.DataFrame, current: pd.DataFrame) -> bool:
    return bool(judge_like("whylogs", reference, current)["drifted"].any())


MONITORS: Mapping[str, Monitor] = {
    "this course's": ours,
    "evidently": evidently,
    "NannyML": nannyml,
    "whylogs": whylogs,
}


def power(
    shifts: Sequence[float] = (0.0, 0.05, 0.1, 0.2, 0.3),
    *,
    rows: int = 2000,
    replications: int = 50,
    kind: str = "number",
    monitors: Mapping[str, Monitor] = MONITORS,
    seed: int = 0,
) -> pd.DataFrame:
    """How often each monitor finds a move, as a frame: monitor, shift, rows, found (a share).

    `kind` "number": one normal column, its mean moved by `shift` standard deviations. "category":
    one column of ten even categories, to which a new one comes with the share `shift`. A shift of
    0 gives the false alarms. Every monitor sees the same tables.
    """
    found = {(name, shift): 0 for name in monitors for shift in shifts}
    rng = np.random.default_rng(seed)
    for shift in shifts:
        for _ in range(replications):
            if kind == "number":
                pair = [pd.DataFrame({"x": rng.normal(moved, 1, rows)}) for moved in (0, shift)]
            else:
                codes = [rng.integers(0, 10, rows) for _ in range(2)]
                codes[1] = np.where(rng.random(rows) < shift, 10, codes[1])
                pair = [pd.DataFrame({"x": pd.Series(np.char.mod("v%d", c))}) for c in codes]
            for name, monitor in monitors.items():
                found[name, shift] += monitor(*pair)
    return pd.DataFrame(
        [(name, shift, rows, n / replications) for (name, shift), n in found.items()],
        columns=["monitor", "shift", "rows", "found"],
    )
