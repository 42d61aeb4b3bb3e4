"""3 million rows of 1,000 columns against 3 million more, through Parquet, in bounded memory.

The rows are drawn by recipe into the cache folder, a hundred thousand at a time, and deleted as
soon as they were read: the reference first, of which only its stored profile is kept, then the
current rows, which are judged against that. Drawing and writing are not counted. Each of the two
passes is a process of its own, so that its peak of memory is its own:

    python benchmarks/monitoring_large.py pass ROWS.parquet STORED.json      # prints JSON

A tenth of the columns are categories of 50 values, a tenth whole numbers, the others normal, in
single precision; each twentieth column has moved.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from report import Figure

GROUP = 100_000
EVERY = 20  # one column in so many moves


def columns_of(count: int) -> pa.Schema:
    kinds = {9: pa.dictionary(pa.int8(), pa.string()), 8: pa.int32()}
    return pa.schema([(f"x{i:04d}", kinds.get(i % 10, pa.float32())) for i in range(count)])


def draw(rng: np.random.Generator, kind: pa.DataType, rows: int, *, moved: bool) -> pa.Array:
    """One column's piece."""
    if pa.types.is_dictionary(kind):
        labels = pa.array([f"v{i:02d}" for i in range(50)])
        return pa.DictionaryArray.from_arrays(rng.integers(0, 50, rows, dtype=np.int8), labels)
    if pa.types.is_integer(kind):
        return pa.array(rng.integers(0, 1_000, rows, dtype=np.int32))
    values = rng.standard_normal(rows, dtype=np.float32)
    values += np.float32(0.3 * moved)
    return pa.array(values)


def make(path: Path, rows: int, columns: int, *, seed: int, moved: bool) -> None:
    """Write a table; column i moves when `moved` and i is a multiple of `EVERY`."""
    rng, schema = np.random.default_rng(seed), columns_of(columns)
    words = [field.name for field in schema if pa.types.is_dictionary(field.type)]
    # Numbers drawn at random do not compress, and have no dictionary worth its making.
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=words) as writer:
        for start in range(0, rows, GROUP):
            some = min(GROUP, rows - start)
            parts = [
                draw(rng, field.type, some, moved=moved and i % EVERY == 0)
                for i, field in enumerate(schema)
            ]
            writer.write_batch(pa.record_batch(parts, schema=schema))


def peak_bytes() -> int:
    """The most memory that this process has held."""
    status = Path("/proc/self/status")
    if status.exists():  # the resource module would also tell of the parent before exec
        line = next(one for one in status.read_text().splitlines() if one.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    memory = psutil.Process().memory_info()
    return getattr(memory, "peak_wset", memory.rss)


def read_once(rows: Path, stored: Path) -> dict[str, object]:
    """Profile the rows into `stored` if that is not there; else judge them against it."""
    from mlsys.monitoring import Profile, judge, profile

    profile({"x": np.zeros(2)})  # compile, or load what was compiled
    begin, used = perf_counter(), process_time()
    moved: list[str] = []
    if stored.exists():
        report = judge(Profile.from_json(stored.read_bytes()), rows)
        moved = [one.column for one in report.verdicts if one.drifted]
    else:
        stored.write_bytes(profile(rows).to_json())
    spent, took = process_time() - used, perf_counter() - begin
    return {"cpu": spent, "seconds": took, "peak": peak_bytes(), "moved": moved}


def large(rows: int, columns: int, cache: Path) -> list[Figure]:
    """Make, read and delete both sides; the figures of the two passes together."""
    cache.mkdir(parents=True, exist_ok=True)
    told, drawing, size = [], 0.0, 0
    with tempfile.TemporaryDirectory(prefix="large-", dir=cache) as name:
        path, stored = Path(name) / "rows.parquet", Path(name) / "reference.json"
        for seed, moved in ((1, False), (2, True)):
            begin = process_time()
            make(path, rows, columns, seed=seed, moved=moved)
            drawing += process_time() - begin
            size += path.stat().st_size
            command = [sys.executable, __file__, "pass", str(path), str(stored)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            told.append(json.loads(done.stdout.splitlines()[-1]))
            path.unlink()
    cpu, seconds = (sum(one[key] for one in told) for key in ("cpu", "seconds"))
    wanted = {f"x{i:04d}" for i in range(0, columns, EVERY)}
    found = set(told[-1]["moved"])
    note = f"{rows:,} rows a side, {columns:,} columns, {size / 2**30:.1f} GiB of Parquet"
    return [
        Figure("large_cpu_seconds", cpu, note=f"{note}; {drawing:.0f} s more to make them"),
        Figure("large_seconds", seconds, note="by the clock, whatever else the machine did"),
        Figure("large_peak_gb", max(one["peak"] for one in told) / 2**30, 8, at_most=True),
        Figure("large_found", len(found & wanted), len(wanted), note="of the columns that moved"),
        Figure("large_false", len(found - wanted), 0, at_most=True, note="of the others"),
    ]


if __name__ == "__main__":
    _, word, *paths = sys.argv
    if word != "pass" or len(paths) != 2:
        sys.exit("This is run by benchmarks/monitoring.py --large.")
    print(json.dumps(read_once(*map(Path, paths))))
