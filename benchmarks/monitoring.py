"""How fast drift is found: against the floor, against Parquet's bare scan, against the peers; and
what a look at a live log costs, however long the log.

    python benchmarks/monitoring.py                  # 1 million rows on each side, 20 columns
    python benchmarks/monitoring.py --quick          # half the rows, few for the peers: a minute
    python benchmarks/monitoring.py --peers          # makes the peers' environments first
    python benchmarks/monitoring.py --large          # also 3 million rows by 1,000 columns
    python benchmarks/monitoring.py --figure x.html  # also draws how the cost grows

The floor is the sum of every array, each read once. CPU seconds of one process, all threads, the
least of several runs taken in turn. The last line is one JSON object; the exit code is 1 when a
goal is missed. Peers run when their environments exist under the cache folder, on the same rows in
the same run; of one that is not there the last lines say that it was not measured.

Same statistics: the exact path gives KS, Wasserstein, PSI, Jensen-Shannon and Hellinger of each
column of numbers, chi-squared, L-infinity, PSI, Jensen-Shannon and Hellinger of each category, and
a test of missing values: all that the peers are asked for, and more.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from monitoring_growth import figures as growth_figures
from monitoring_growth import growth, in_turn
from monitoring_large import large
from monitoring_peers import GOALS, REQUIREMENTS
from monitoring_watch import growth as watching
from report import Figure, report

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "mlsys"
ROWS = 1_000_000
QUICK_ROWS = 20_000  # of the peers, with --quick


def table(rows: int, seed: int, *, moved: bool) -> pd.DataFrame:
    """Fifteen columns of numbers, five of categories; five of the twenty drift when `moved`."""
    rng = np.random.default_rng(seed)
    shift = 0.3 if moved else 0.0
    made = {f"normal_{i}": rng.normal(shift * (i == 0), 1, rows) for i in range(5)}
    made |= {f"lognormal_{i}": rng.lognormal(0, 1 + shift * (i == 0), rows) for i in range(3)}
    made |= {f"exponential_{i}": rng.exponential(1, rows) for i in range(3)}
    made["beta"] = rng.beta(1 + shift, 1, rows)
    made["whole"] = rng.poisson(3, rows).astype(float)
    made["humps"] = rng.normal(size=rows) + 4 * (rng.random(rows) < 0.5)
    made["heavy"] = rng.standard_t(3, rows)
    for values in (2, 5, 10, 50, 1000):
        codes = rng.integers(0, values, rows)
        if moved and values in (5, 50):
            codes = np.where(rng.random(rows) < 0.05, 0, codes)
        made[f"category_{values}"] = pd.Categorical.from_codes(
            codes.astype(np.int16), [f"v{i:04d}" for i in range(values)]
        )
    return pd.DataFrame(made)


def extra_megabytes(act: Callable[[], object]) -> float:
    """The most memory that `act` had allocated at one time (NumPy and Python)."""
    tracemalloc.start()
    act()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most / 2**20


def arrays(frame: pd.DataFrame) -> list[np.ndarray]:
    return [
        (frame[name].cat.codes if frame[name].dtype == "category" else frame[name]).to_numpy()
        for name in frame
    ]


def in_memory(reference: pd.DataFrame, current: pd.DataFrame, runs: int) -> list[Figure]:
    """The exact path and the profile path against the floor."""
    from mlsys.monitoring import judge, measure_tables, profile

    begin = time.perf_counter()
    judge(reference.head(100), current.head(100))
    judge(profile(reference.head(100)), current.head(100))
    compiling = time.perf_counter() - begin
    every = arrays(reference) + arrays(current)
    stored = profile(reference)
    acts = (
        lambda: [one.sum() for one in every],
        lambda: measure_tables(reference, current),
        lambda: measure_tables(stored, current),
    )
    floor, exact, binned = in_turn(acts, runs)
    found = judge(reference, current).drifted, judge(stored, current).drifted
    return [
        Figure("compile_seconds", compiling, note="once a machine, then read from the cache"),
        Figure("floor_seconds", floor, note="the sum of every array, both sides"),
        Figure("exact_over_floor", exact / floor, 25, at_most=True, note=f"{exact:.3f} s of CPU"),
        Figure("profile_over_floor", binned / floor, 8, at_most=True, note=f"{binned:.3f} s"),
        Figure("exact_extra_mb", extra_megabytes(acts[1]), 20, at_most=True),
        Figure("profile_extra_mb", extra_megabytes(acts[2]), 20, at_most=True),
        Figure("columns_found", len(found[0]), 5, note="of 5 that drift, by rows"),
        Figure("columns_found_by_profile", len(found[1]), 5, note="by a stored profile"),
    ]


def from_parquet(reference: pd.DataFrame, folder: Path, runs: int) -> list[Figure]:
    """Parquet to verdict against reading the same file and dropping it."""
    from mlsys.monitoring import judge, profile
    from mlsys.monitoring.sources import ROWS as BATCH

    path = folder / "current.parquet"
    stored = profile(reference)

    def scan() -> None:
        with pq.ParquetFile(path) as file:
            for _ in file.iter_batches(batch_size=BATCH):
                pass

    bare, ours = in_turn([scan, lambda: judge(stored, path)], runs)
    note = f"{ours:.2f} s against {bare:.2f} s of CPU, zstd"
    return [Figure("parquet_over_scan", ours / bare, 1.5, at_most=True, note=note)]


def live(seconds: float) -> list[Figure]:
    """Predictions logged with fsync and profiled: what one core carries, what overload loses.

    Each hundred rows are one request, a profile is made of each thousand.
    """
    from mlsys.monitoring.load import Load, offer

    def at(rate: float) -> Load:
        with tempfile.TemporaryDirectory() as name:
            return offer(name, rate=rate, seconds=seconds, batch=100)

    calm, tenfold, flood = at(10_000), at(100_000), at(1_000_000)
    unsaid = sum(
        one.offered - one.counts.safe - one.counts.dropped - one.counts.failed
        for one in (calm, tenfold, flood)
    )
    return [
        Figure("live_cores", calm.cores, 1, at_most=True, note="10,000 predictions a second"),
        Figure("live_lost", calm.counts.dropped, 0, at_most=True, note="of them refused"),
        Figure("live_unwatched", calm.counts.unwatched, 0, at_most=True, note="not profiled"),
        Figure("overload_10x_lost", tenfold.lost,
               note=f"share refused of 100,000 a second; {tenfold.carried:,.0f} a second safe"),
        Figure("overload_100x_lost", flood.lost,
               note=f"share refused of 1,000,000 a second; {flood.carried:,.0f} a second safe"),
        Figure("overload_unsaid", unsaid, 0, at_most=True, note="rows neither safe nor counted"),
    ]  # fmt: skip


def peers(folder: Path, rows: int, limit: float, *, make: bool) -> list[Figure]:
    """How many times our CPU each peer takes for the same files, within `limit` seconds.

    They load their libraries side by side, and are measured one after the other. On fewer rows
    than `ROWS`, what does not grow with the rows weighs more: no goal then.
    """
    from mlsys.monitoring import measure_tables

    paths = [folder / f"peers_{side}.parquet" for side in ("reference", "current")]
    sides = [pd.read_parquet(path) for path in paths]
    script = Path(__file__).with_name("monitoring_peers.py")
    python = "Scripts/python.exe" if os.name == "nt" else "bin/python"
    started: dict[str, subprocess.Popen[str]] = {}
    made = []
    try:
        for name in GOALS:
            own = CACHE / "peers" / name / python
            if make and not own.exists():
                _environment(name, own)
            if own.exists():
                with (folder / f"{name}.log").open("w") as log:
                    started[name] = subprocess.Popen(
                        [own, script, name, *paths], text=True, stderr=log,
                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                    )  # fmt: skip
        ready = {name: _line(one, limit) for name, one in started.items()}
        for name, goal in GOALS.items():
            key, of = f"{name}_over_exact", f"{rows:,} rows a side"
            if name not in started:
                made.append(Figure(key, None, goal, note="not measured: run with --peers once"))
                continue
            try:
                if ready[name]:
                    print(file=started[name].stdin, flush=True)
                cpu = json.loads(_line(started[name], limit))["cpu"]
            except (OSError, ValueError, KeyError):
                told = (folder / f"{name}.log").read_text().strip().splitlines()
                why = told[-1][:100] if told else f"over {limit:.0f} s"
                made.append(Figure(key, None, goal, note=f"not measured: {why}, {of}"))
                continue
            # Beside each peer, so that both see the same machine.
            (ours,) = in_turn([lambda: measure_tables(*sides)], 3)
            note = f"{cpu:.1f} s of CPU against {ours:.3f} s, {of}"
            if rows < ROWS:
                note += f"; the goal, {goal} times, is for {ROWS:,}"
            made.append(Figure(key, cpu / ours, goal if rows == ROWS else None, note=note))
    finally:
        for one in started.values():
            one.kill()
            one.wait()
    return made


def _line(process: subprocess.Popen[str], seconds: float) -> str:
    """What a process says next; nothing, and its end, if that takes longer."""
    overdue = threading.Timer(seconds, process.kill)
    overdue.start()
    try:
        return process.stdout.readline()
    finally:
        overdue.cancel()


def _environment(name: str, python: Path) -> None:
    import venv

    venv.create(python.parent.parent, with_pip=True)
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", *REQUIREMENTS[name]], check=True, timeout=1800
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="peers on fewer rows, fewer runs")
    parser.add_argument("--peers", action="store_true", help="make the peers' environments first")
    parser.add_argument("--large", action="store_true", help="3 million rows by 1,000 columns too")
    parser.add_argument("--figure", type=Path, help="where to draw how the cost grows, .html")
    chosen = parser.parse_args()
    size = ROWS // 2 if chosen.quick else ROWS
    reference, current = table(size, 1, moved=False), table(size, 2, moved=True)
    rows, limit = (QUICK_ROWS, 60) if chosen.quick else (ROWS, 900)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        current.to_parquet(folder / "current.parquet", compression="zstd")
        reference.head(rows).to_parquet(folder / "peers_reference.parquet")
        current.head(rows).to_parquet(folder / "peers_current.parquet")
        figures = in_memory(reference, current, 3 if chosen.quick else 5)
        figures += from_parquet(reference, folder, 3 if chosen.quick else 7)
        del reference, current
        measured = growth(3 if chosen.quick else 5)
        figures += growth_figures(measured)
        figures += live(1 if chosen.quick else 3)
        figures += watching(2_500) if chosen.quick else watching()
        figures += peers(folder, rows, limit, make=chosen.peers)
    if chosen.large:
        figures += large(3_000_000, 1_000, CACHE)
    else:
        figures.append(Figure("large_peak_gb", None, 8, note="not measured: run with --large"))
    if chosen.figure:
        from monitoring_figures import growth as growth_figure
        from monitoring_figures import save

        print(save(growth_figure(measured), chosen.figure))
    return report("monitoring", figures)


if __name__ == "__main__":
    sys.exit(main())
