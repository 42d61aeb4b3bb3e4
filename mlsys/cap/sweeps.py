"""Many scenes at once: in this process, in a pool of processes, or on a Dask cluster.

A measure is a function of a module (a worker must be able to import it; one defined in a notebook
cannot be sent). What comes back does not depend on where it was computed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import product
from multiprocessing import get_context
from typing import Any

from mlsys.cap.measures import Measure, summary
from mlsys.cap.runs import run
from mlsys.cap.scenes import Scene


class SweepError(RuntimeError):
    """A sweep that cannot be carried out; the message is one sentence."""


def grid(scene: Scene, **choices: Iterable[Any]) -> list[Scene]:
    """Every combination of the choices, put into the scene; the last named varies fastest."""
    names = list(choices)
    return [
        replace(scene, **dict(zip(names, values)))
        for values in product(*(tuple(choices[name]) for name in names))
    ]


def measured(scene: Scene, measure: Measure) -> Any:
    """Play one scene and measure it."""
    return measure(run(scene))


def sweep(
    scenes: Iterable[Scene],
    measure: Measure = summary,
    *,
    workers: int | None = None,
    cluster: str | None = None,
) -> list[Any]:
    """`measure` of the run of each scene, in the order of the scenes.

    `workers` processes share the work (None: one a core; 1: this process alone). With `cluster`,
    the address of a Dask scheduler (`tcp://host:port`), its workers do; mlsys must be installed
    there. Raises SweepError when the measure cannot be sent or the cluster does not answer.
    """
    scenes = list(scenes)
    if cluster is not None:
        return _on_dask(scenes, measure, cluster)
    workers = min(workers or os.cpu_count() or 1, len(scenes))
    if workers <= 1:
        return [measured(scene, measure) for scene in scenes]
    _check_can_travel(measure)
    chunk = max(1, len(scenes) // (4 * workers))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return list(pool.map(measured, scenes, [measure] * len(scenes), chunksize=chunk))


def _check_can_travel(measure: Measure) -> None:
    """A spawned process finds a function by its module's name; a notebook's has none."""
    module, name = getattr(measure, "__module__", None), getattr(measure, "__qualname__", "")
    if module in (None, "__main__") or "<" in name:
        raise SweepError(
            f"The measure {name or measure!r} is defined in a notebook or inside a function; put "
            "it in a module, or use workers=1."
        )


def _on_dask(scenes: Sequence[Scene], measure: Measure, address: str) -> list[Any]:
    try:
        from distributed import Client
    except ImportError:
        raise SweepError(
            "cluster= needs Dask; install it with: pip install 'mlsys[cluster]'"
        ) from None
    _check_can_travel(measure)
    try:
        client = Client(address, timeout="5s", set_as_default=False)
    except (OSError, ValueError):
        raise SweepError(f"No Dask scheduler answers at {address!r}; check the address.") from None
    with client:
        return client.gather(client.map(measured, scenes, measure=measure, pure=False))
