"""How fast drift is found: against the floor, against Parquet's bare scan, against the peers.

    python benchmarks/monitoring.py            # 1 million rows on each side, 20 columns
    python benchmarks/monitoring.py --quick    # without the peers, under a minute
    python benchmarks/monitoring.py --peers    # makes the peers' environments too, in --cache
    python benchmarks/monitoring.py --large    # also 3 million rows by 1,000 columns

The floor is the sum of every array, each read once. CPU seconds of one process, the least of
several runs. The last line is one JSON object; the exit code is 1 when a goal is missed.
Peers run when their environments exist under the cache folder, on the same rows in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow.parquet as pq
from monitoring_peers import REQUIREMENTS
from report import Figure, report

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "mlsys" / "peers"


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


def least_cpu(act: Callable[[], object], times: int = 3) -> float:
    """CPU seconds of this process, all threads; the least of `times` runs."""
    spent = []
    for _ in range(times):
        begin = time.process_time()
        act()
        spent.append(time.process_time() - begin)
    return min(spent)


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


def in_memory(reference: pd.DataFrame, current: pd.DataFrame) -> tuple[list[Figure], float]:
    """The exact path and the profile path against the floor; and the exact path's seconds."""
    from mlsys.monitoring import judge, measure_tables, profile

    begin = time.perf_counter()
    judge(reference.head(100), current.head(100))
    judge(profile(reference.head(100)), current.head(100))
    compiling = time.perf_counter() - begin
    every = arrays(reference) + arrays(current)
    floor = least_cpu(lambda: [one.sum() for one in every], 5)
    stored = profile(reference)
    exact = least_cpu(lambda: measure_tables(reference, current))
    binned = least_cpu(lambda: measure_tables(stored, current))
    found = judge(reference, current).drifted, judge(stored, current).drifted
    figures = [
        Figure("compile_seconds", compiling, note="once a machine, then read from the cache"),
        Figure("floor_seconds", floor, note="the sum of every array, both sides"),
        Figure("exact_over_floor", exact / floor, 25, at_most=True, note=f"{exact:.3f} s of CPU"),
        Figure("profile_over_floor", binned / floor, 8, at_most=True, note=f"{binned:.3f} s"),
        Figure("exact_extra_mb", extra_megabytes(lambda: measure_tables(reference, current)),
               20, at_most=True),
        Figure("profile_extra_mb", extra_megabytes(lambda: measure_tables(stored, current)),
               20, at_most=True),
        Figure("columns_found", len(found[0]), 5, note="of 5 that drift, by rows"),
        Figure("columns_found_by_profile", len(found[1]), 5, note="by a stored profile"),
    ]  # fmt: skip
    return figures, exact


def from_parquet(reference: pd.DataFrame, current: pd.DataFrame, folder: Path) -> list[Figure]:
    """Parquet to verdict against reading the same file and dropping it."""
    from mlsys.monitoring import measure_tables, profile
    from mlsys.monitoring.sources import ROWS

    path = folder / "current.parquet"
    stored = profile(reference)

    def scan() -> None:
        with pq.ParquetFile(path) as file:
            for _ in file.iter_batches(batch_size=ROWS):
                pass

    # Alternated, since both depend on what else the machine does.
    pairs = [(least_cpu(scan, 1), least_cpu(lambda: measure_tables(stored, path), 1))
             for _ in range(5)]  # fmt: skip
    bare, ours = (min(side) for side in zip(*pairs))
    note = f"{ours:.2f} s against {bare:.2f} s of CPU, zstd"
    return [Figure("parquet_over_scan", ours / bare, 1.5, at_most=True, note=note)]


def growth(rows: int) -> list[Figure]:
    """Cost of twice the rows and of twice the columns, as a ratio; 2 is linear."""
    from mlsys.monitoring import profile

    rng = np.random.default_rng(5)
    made = {f"x{i}": rng.normal(size=rows) for i in range(8)}
    halves = {name: values[: rows // 2] for name, values in made.items()}
    few = dict(list(made.items())[:4])
    stored = profile(halves)
    whole, by_rows, by_columns = (
        least_cpu(lambda part=part: profile(part, like=stored), 5) for part in (made, halves, few)
    )
    return [
        Figure("twice_the_rows", whole / by_rows, 3, at_most=True, note="2 is linear"),
        Figure("twice_the_columns", whole / by_columns, 3, at_most=True, note="2 is linear"),
    ]


def large(rows: int, columns: int) -> list[Figure]:
    """Both sides made column by column (they would not fit), profiled and compared."""
    from mlsys.monitoring import judge, profile

    def make(seed: int, shift: float) -> np.ndarray:
        return np.random.default_rng(seed).normal(shift, 1, rows)

    spent, drawing, drifted = 0.0, 0.0, 0
    own = psutil.Process()
    peak = 0
    for i in range(columns):
        begin = time.process_time()
        a, b = make(2 * i, 0.0), make(2 * i + 1, 0.3 * (i % 10 == 0))
        drawing += time.process_time() - begin
        begin = time.process_time()
        drifted += bool(judge(profile({"x": a}), {"x": b}).drifted)
        spent += time.process_time() - begin
        peak = max(peak, own.memory_info().rss)
    note = f"{rows:,} rows a side, {columns:,} columns; {drawing:.0f} s more to draw them"
    return [
        Figure("large_cpu_seconds", spent, note=note),
        Figure("large_peak_gb", peak / 2**30, 8, at_most=True),
        Figure("large_found", drifted, -(-columns // 10), note="the columns that were moved"),
    ]


def peers(folder: Path, ours: float, *, make: bool) -> list[Figure]:
    """How many times our CPU each peer takes for the same files."""
    goals = {"evidently": 100, "nannyml": 50, "whylogs": 50}
    made = []
    for name, goal in goals.items():
        python = CACHE / name / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        if make and not python.exists():
            _environment(name, python)
        key = f"{name}_over_exact"
        if not python.exists():
            made.append(Figure(key, None, goal, note="not installed: run with --peers"))
            continue
        script = Path(__file__).with_name("monitoring_peers.py")
        paths = [folder / f"{side}.parquet" for side in ("reference", "current")]
        try:
            done = subprocess.run(
                [python, script, name, *paths], capture_output=True, text=True, timeout=900,
                check=True,
            )  # fmt: skip
            cpu = json.loads(done.stdout.splitlines()[-1])["cpu"]
            made.append(Figure(key, cpu / ours, goal, note=f"{cpu:.1f} s of CPU"))
        except (subprocess.SubprocessError, ValueError, IndexError, KeyError) as error:
            why = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[-1][:100]
            made.append(Figure(key, None, goal, note=f"it failed: {why}"))
    return made


def _environment(name: str, python: Path) -> None:
    import venv

    venv.create(python.parent.parent, with_pip=True)
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", *REQUIREMENTS[name]], check=True, timeout=1800
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="without the peers, fewer runs")
    parser.add_argument("--peers", action="store_true", help="make the peers' environments first")
    parser.add_argument("--large", action="store_true", help="3 million rows by 1,000 columns too")
    chosen = parser.parse_args()
    rows = 1_000_000
    reference, current = table(rows, 1, moved=False), table(rows, 2, moved=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reference.to_parquet(folder / "reference.parquet", compression="zstd")
        current.to_parquet(folder / "current.parquet", compression="zstd")
        figures, ours = in_memory(reference, current)
        figures += from_parquet(reference, current, folder)
        figures += growth(rows)
        if not chosen.quick:
            figures += peers(folder, ours, make=chosen.peers)
    if chosen.large:
        del reference, current
        figures += large(3_000_000, 1_000)
    return report("monitoring", figures)


if __name__ == "__main__":
    sys.exit(main())
