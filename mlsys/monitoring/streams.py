"""Drift detectors that see one value at a time, and profiles of a stream in constant memory.

The detectors are river's behind one small interface: `make(name)` gives an object whose
`update(value)` says whether the stream has just changed. `delays` measures what each costs and
gives on an error rate that steps up: how often it cries wolf, how often and how late it notices.
"""

import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any, Protocol

import numpy as np
import pandas as pd
from river import drift
from river.drift import binary
from scipy import stats

from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.profile_build import Builder
from mlsys.monitoring.profiles import Profile


class Detector(Protocol):
    """What reads a stream: True at the value at which it finds a change, and begins anew there."""

    def update(self, value: float) -> bool: ...


@dataclass(frozen=True)
class Kind:
    """A detector's idea in a sentence, its source, and whether it takes any number or errors only.

    `binary` detectors want 0 (right) or 1 (wrong).
    """

    make: Callable[..., Any]
    idea: str
    source: str
    binary: bool


@cache
def _ks_p_value(apart: int, size: int) -> float:
    """p of the two-sample test of `size` against `size` values whose distance is apart / size."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # that it took the asymptotic formula
        return float(stats.ks_2samp([0] * size, [0] * (size - apart) + [1] * apart).pvalue)


def _apart(a: list[float], b: list[float]) -> int:
    """Two samples' KS distance in values: how many more of one than of the other lie below."""
    a, b = sorted(a), sorted(b)
    size, i, j, most = len(a), 0, 0, 0
    while i < size and j < size:
        value = min(a[i], b[j])
        while i < size and a[i] == value:
            i += 1
        while j < size and b[j] == value:
            j += 1
        most = max(most, abs(i - j))
    return most


class _KSWIN(drift.KSWIN):
    """river's KSWIN, alarm for alarm, some fifteen times faster.

    It tests 30 values against 30 at each step, and asks SciPy for the p-value each time. Between
    samples of one size that depends on one whole number only, so it is looked up.
    """

    def update(self, x: float) -> None:
        if self.drift_detected:
            self._reset()
        self.n += 1
        self.window.append(x)
        self._drift_detected = False
        if len(self.window) < self.window_size:
            return
        seen, size = list(self.window), self.stat_size
        older = self._rng.sample(range(self.window_size - size), size)
        apart = _apart([seen[place] for place in older], seen[-size:])
        self.p_value = _ks_p_value(apart, size)
        if self.p_value <= self.alpha and apart > 0.1 * size:
            self._drift_detected = True
            newest = islice(self.window, self.window_size - size, self.window_size)
            self.window = deque(newest, maxlen=self.window_size)


DETECTORS: Mapping[str, Kind] = {
    "ADWIN": Kind(
        drift.ADWIN,
        "Keeps a window that it cuts wherever the two parts' means differ more than chance allows.",
        "Bifet and Gavaldà, SDM 2007",
        False,
    ),
    "HDDM_A": Kind(
        binary.HDDMA,
        "Compares the mean so far with its best by Hoeffding's bound.",
        "Frías-Blanco et al., TKDE 27 (2015)",
        True,
    ),
    "HDDM_W": Kind(
        binary.HDDMW,
        "The same with exponentially weighted means: sooner, and more often wrong.",
        "Frías-Blanco et al., TKDE 27 (2015)",
        True,
    ),
    "PageHinkley": Kind(
        drift.PageHinkley,
        "Sums the deviations from the mean and alarms when the sum leaves its lowest point far.",
        "Page, Biometrika 41 (1954)",
        False,
    ),
    "DDM": Kind(
        binary.DDM,
        "Alarms when the error rate is three standard deviations over its lowest.",
        "Gama et al., SBIA 2004",
        True,
    ),
    "EDDM": Kind(
        binary.EDDM,
        "Watches the distance between two errors.",
        "Baena-García et al., 2006",
        True,
    ),
    "KSWIN": Kind(
        _KSWIN,
        "Compares the newest values of a window with older ones by Kolmogorov and Smirnov's test.",
        "Raab, Heusinger and Schleif, Neurocomputing 416 (2020)",
        False,
    ),
}


class _River:
    def __init__(self, detector: Any, binary: bool) -> None:
        self._detector = detector
        self._binary = binary

    def update(self, value: float) -> bool:
        if self._binary and value not in (0, 1):
            raise MonitoringError(f"This detector reads errors, 0 or 1; it was given {value!r}.")
        if value != value:
            raise MonitoringError("A stream detector was given a missing value; leave those out.")
        self._detector.update(bool(value) if self._binary else float(value))
        return bool(self._detector.drift_detected)


def make(name: str, **settings: Any) -> Detector:
    """A fresh detector of `DETECTORS`, with river's own default settings where none are given.

    Raises MonitoringError when there is no such detector or setting.
    """
    if name not in DETECTORS:
        raise MonitoringError(f"There is no detector {name!r}; there are {', '.join(DETECTORS)}.")
    try:
        return _River(DETECTORS[name].make(**settings), DETECTORS[name].binary)
    except TypeError as error:
        raise MonitoringError(f"{name} cannot be set up so: {error}.") from None


def alarms(detector: Detector, values: Sequence[float]) -> Iterator[int]:
    """The places in `values` at which the detector finds a change."""
    return (place for place, value in enumerate(values) if detector.update(value))


def delays(
    names: Sequence[str] = tuple(DETECTORS),
    *,
    streams: int = 60,
    before: int = 5_000,
    after: int = 2_000,
    rates: tuple[float, float] = (0.2, 0.4),
    seed: int = 0,
) -> pd.DataFrame:
    """What each detector makes of an error rate that steps from `rates[0]` to `rates[1]`.

    Every detector reads the same `streams` streams of `before` values, a change, and `after` more.
    One row a detector: detector, false_alarms (per 100,000 values before the change), detected
    (share of streams with an alarm after it), delay (mean values from the change to that first
    alarm; nan if there was none). Default settings of river. KSWIN runs a test at each value:
    it takes longer than the other six together.
    """
    rng = np.random.default_rng(seed)
    rate = np.r_[np.full(before, rates[0]), np.full(after, rates[1])]
    errors = (rng.random((streams, before + after)) < rate).astype(int).tolist()
    rows = []
    for name in names:
        false, found = 0, []
        for number, stream in enumerate(errors):
            detector = make(name, **({"seed": seed + number} if name == "KSWIN" else {}))
            for place in alarms(detector, stream):
                if place >= before:
                    found.append(place - before + 1)
                    break
                false += 1
        delay = float(np.mean(found)) if found else float("nan")
        per_100_000 = 1e5 * false / (streams * before) if before else float("nan")
        rows.append((name, per_100_000, len(found) / streams, delay))
    return pd.DataFrame(rows, columns=["detector", "false_alarms", "detected", "delay"])


class WindowProfiles:
    """A stream's profile, a window of `rows` rows at a time, in the memory of one profile.

    `add(frame)` returns the profiles of the windows that it completed (usually none or one), each
    comparable with `like`, the reference's profile. No row is kept.
    """

    def __init__(self, rows: int, *, like: Profile | None = None) -> None:
        if rows < 1:
            raise MonitoringError(f"A window has one row or more, not {rows}.")
        self.rows = rows
        self.like = like
        self._begin()

    def _begin(self) -> None:
        self._builder = Builder(like=self.like)
        self.filled = 0

    def add(self, frame: pd.DataFrame) -> list[Profile]:
        done = []
        while len(frame):
            room = self.rows - self.filled
            part, frame = frame.iloc[:room], frame.iloc[room:]
            self._builder.add({name: part[name] for name in part})
            self.filled += len(part)
            if self.filled == self.rows:
                done.append(self._builder.done())
                self._begin()
        return done
