"""When requests are meant to be sent: schedules as arrays of seconds from the start, made before.

A schedule that is fixed beforehand is what makes a load open: it does not wait for the server.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MOST_REQUESTS = 1_000_000
MOST_SECONDS = 600.0


class LoadError(ValueError):
    """A load that cannot be sent: the sentence says what is wrong and what to do."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of a traceback: the sentence alone."""
        return [f"LoadError: {self}"]


def poisson(rate: float, seconds: float, *, seed: int = 0) -> np.ndarray:
    """Arrivals of many independent users: exponential gaps of mean 1/rate, for so many seconds."""
    _check(rate, seconds)
    rng = np.random.default_rng(seed)
    # Given their number, the instants of a Poisson process are uniform: no gap has to be summed.
    return np.sort(rng.uniform(0, seconds, rng.poisson(rate * seconds)))


def fixed(rate: float, seconds: float) -> np.ndarray:
    """Arrivals like clockwork: one each 1/rate seconds, the first at 0."""
    _check(rate, seconds)
    return np.arange(round(rate * seconds)) / rate


def check_trace(arrivals: Sequence[float] | np.ndarray) -> np.ndarray:
    """The instants as a sorted array of float; LoadError when they are no schedule."""
    try:
        times = np.asarray(arrivals, dtype=float)
    except (TypeError, ValueError):
        raise LoadError(
            "A trace is a sequence of seconds from the start; this one is no array."
        ) from None
    if times.ndim != 1 or not np.isfinite(times).all() or (times.size and times.min() < 0):
        raise LoadError("A trace is a flat sequence of finite seconds from the start, from 0 on.")
    if times.size > MOST_REQUESTS:
        raise LoadError(f"{times.size:,} requests are too many; send at most {MOST_REQUESTS:,}.")
    if times.size and times.max() > MOST_SECONDS:
        raise LoadError(f"The trace lasts {times.max():g} s; the limit is {MOST_SECONDS:g} s.")
    return np.sort(times)


def check_seconds(seconds: float) -> None:
    if not 0 < seconds <= MOST_SECONDS:
        raise LoadError(f"{seconds} seconds are no length; take more than 0, up to {MOST_SECONDS}.")


def _check(rate: float, seconds: float) -> None:
    check_seconds(seconds)
    if not (np.isfinite(rate) and rate > 0):
        raise LoadError(f"{rate} requests a second are no rate; take a number over 0.")
    if rate * seconds > MOST_REQUESTS:
        raise LoadError(
            f"{rate:g} requests a second for {seconds:g} s are {rate * seconds:,.0f};"
            f" send at most {MOST_REQUESTS:,}."
        )
