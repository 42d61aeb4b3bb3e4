"""What the PBS paper published, and how its t column came about.

Data and one estimator, for setting paper and simulation side by side: table 4 of Bailis et al.,
VLDB 2012 (N = 3), and the sweep behind its t-visibility, which stops too early. The model itself
is in `pbs.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlsys.cap.pbs import Draws
from mlsys.cap.quorums import QuorumError


@dataclass(frozen=True, slots=True)
class Published:
    """One cell of the paper's table 4: 99.9th percentiles of latency, and t for 99.9 %, in ms."""

    fit: str
    r: int
    w: int
    read_latency: float
    write_latency: float
    t_visibility: float


def _rows(fit: str, *cells: tuple[int, int, float, float, float]) -> tuple[Published, ...]:
    return tuple(Published(fit, *cell) for cell in cells)


TABLE_4 = (
    *_rows(
        "lnkd-ssd",
        (1, 1, 0.66, 0.66, 1.85),
        (1, 2, 0.66, 1.63, 1.79),
        (2, 1, 1.63, 0.65, 0),
        (2, 2, 1.62, 1.64, 0),
        (3, 1, 4.14, 0.65, 0),
        (1, 3, 0.65, 4.09, 0),
    ),
    *_rows(
        "lnkd-disk",
        (1, 1, 0.66, 10.99, 45.5),
        (1, 2, 0.65, 20.97, 43.3),
        (2, 1, 1.63, 10.9, 13.6),
        (2, 2, 1.64, 20.96, 0),
        (3, 1, 4.12, 10.89, 0),
        (1, 3, 0.65, 112.65, 0),
    ),
    *_rows(
        "ymmr",
        (1, 1, 5.58, 10.83, 1364),
        (1, 2, 5.61, 427.12, 1352),
        (2, 1, 32.6, 10.73, 202),
        (2, 2, 33.18, 428.11, 0),
        (3, 1, 219.27, 10.79, 0),
        (1, 3, 5.63, 1870.86, 0),
    ),
    *_rows(
        "wan",
        (1, 1, 3.4, 55.12, 113),
        (1, 2, 3.4, 167.64, 0),
        (2, 1, 151.3, 56.36, 30.2),
        (2, 2, 151.31, 167.72, 0),
        (3, 1, 153.86, 55.19, 0),
        (1, 3, 3.44, 241.55, 0),
    ),
)

# P(a read that starts as the write returns is consistent), N = 3, R = W = 1 (section 5.6).
CONSISTENT_AT_ONCE = {"lnkd-ssd": 0.974, "lnkd-disk": 0.439, "ymmr": 0.893, "wan": 0.33}

# The step of the sweep in ms, as fine as the figures which the table prints.
SWEEP_STEP = {"lnkd-ssd": 0.01, "lnkd-disk": 0.1, "ymmr": 1.0, "ymmr-printed": 1.0, "wan": 0.1}


def paper_estimator(
    draws: Draws,
    *,
    r: int,
    w: int,
    p: float = 0.999,
    trials: int = 50_000,
    step: float | None = None,
    replays: int = 1,
    seed: int = 0,
) -> np.ndarray:
    """Replay the sweep behind the paper's t-visibility: one t in ms for each replay.

    The sweep asks at t = 0, step, 2 step, … whether the share of `trials` *fresh* trials that are
    consistent reaches p, and stops at the first that does. Near the true quantile hundreds of
    steps each get a chance to pass by luck, so it stops early: the estimate is biased low. A fresh
    estimate is a binomial count around the true curve; here it is drawn as such, around the curve
    of `draws`, which gives the same distribution of the outcome without drawing every trial anew.
    """
    step = SWEEP_STEP.get(draws.fit, 0.1) if step is None else step
    needed = draws.fresh_after(r=r, w=w)
    if not step > 0 or float(needed.max()) / step > 10_000_000:
        raise QuorumError(f"A step of {step!r} ms does not sweep up to {needed.max():.0f} ms.")
    generator = np.random.default_rng(seed)
    # Beyond twice the quantile's distance from 1 a fresh estimate passes all but surely.
    last = draws.t_visibility(r=r, w=w, p=1 - (1 - p) / 2)
    times = np.arange(0, last + 2 * step, step)
    curve = draws.consistency(times, r=r, w=w)
    found = []
    for _ in range(replays):
        passes = generator.binomial(trials, curve) >= p * trials
        found.append(times[int(np.argmax(passes))] if passes.any() else times[-1])
    return np.array(found)
