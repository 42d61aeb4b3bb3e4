"""The load generator against wrk on the same servers, and how fast servers start, in one run.

    python benchmarks/serving.py            # a minute or two
    python benchmarks/serving.py --quick    # under half a minute

Both ask an application that answers after a drawn time, with as many connections and at the same
time, so that whatever else the machine does meets both: their percentiles must agree. Both ask
nginx as fast as they can: our ceiling stands beside wrk's, and beside both the rate up to which our
open loop keeps to its schedule. The delays lie within a factor of three, so that no correction a
tool makes for omitted requests has anything to correct.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

from mlsys import services
from mlsys.serving.load import LoadResult, closed_loop, open_loop, run_now

sys.path.insert(0, str(Path(__file__).parent))
from report import Figure, report
from serving_peers import Wrk, find_wrk, run_wrk

CONNECTIONS = 16
TOLERANCE = {50.0: 0.10, 90.0: 0.10, 99.0: 0.15}
# Measured once on an idle machine, ms, and the goal in s; postgres makes its cluster first.
FACTS = {"nginx": (11, 1), "valkey": (44, 1), "nats": (42, 1), "postgres": (760, 1.5)}
SIMPLE = "location / { return 200 'hello'; access_log off; keepalive_requests 1000000; }"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds, under half a minute")
    quick = parser.parse_args().quick
    rounds, seconds = (1, 2) if quick else (5, 4)
    with tempfile.TemporaryDirectory(prefix="mlsys-wrk-") as folder:
        wrk = find_wrk(Path(folder))
        figures = [
            *same_percentiles(wrk, rounds=rounds, seconds=seconds),
            *ceilings(wrk, rounds=rounds, seconds=seconds),
            *start_ups(rounds=1 if quick else 5),
        ]
    return report("serving", figures)


def same_percentiles(wrk: Wrk | None, *, rounds: int, seconds: int) -> list[Figure]:
    """How far our percentiles are from wrk's, as a share of wrk's; the median over the rounds."""
    names = {percent: f"p{percent:g}_apart_from_wrk" for percent in TOLERANCE}
    if wrk is None:
        missing = "wrk is not on PATH and could not be fetched"
        return [Figure(name, None, TOLERANCE[p], True, missing) for p, name in names.items()]
    ours, theirs = [], []
    with (
        services.web_app("serving_app:app", cwd=Path(__file__).parent) as server,
        ThreadPoolExecutor(1) as beside,
    ):
        ask = partial(run_wrk, wrk, server.url, connections=CONNECTIONS, seconds=seconds)
        for _ in range(rounds):
            peer = beside.submit(ask)
            ours.append(run_now(closed_loop(server, clients=CONNECTIONS, seconds=seconds)))
            theirs.append(peer.result())
    made = []
    for percent, name in names.items():
        mine = [result.latency.percentile(percent) for result in ours]
        peer = [seen.percentiles[percent] for seen in theirs]
        gaps = [abs(a - b) / b for a, b in zip(mine, peer)]
        note = f"ours {_ms(mine)}, {wrk.version} {_ms(peer)}; {CONNECTIONS} connections"
        made.append(Figure(name, statistics.median(gaps), TOLERANCE[percent], True, note))
    rates = [a.achieved / b.rate for a, b in zip(ours, theirs)]
    note = f"ours {_rate([r.achieved for r in ours])}, wrk {_rate([s.rate for s in theirs])}"
    made.append(Figure("rate_over_wrk_slow_app", statistics.median(rates), 0.9, note=note))
    failed = sum(r.planned - r.ok for r in ours) + sum(s.failed for s in theirs)
    made.append(Figure("requests_failed", failed, 0, at_most=True))
    return made


def ceilings(wrk: Wrk | None, *, rounds: int, seconds: int) -> list[Figure]:
    """Requests a second out of one nginx: wrk's, ours, and the most that we send on schedule."""
    ours, theirs, rates = [], [], (250, 500, 1_000, 2_000, 4_000, 8_000, 12_000, 16_000)
    with services.nginx(config=SIMPLE) as server:
        for _ in range(rounds):
            if wrk is not None:
                seen = run_wrk(wrk, server.url, connections=CONNECTIONS, seconds=seconds)
                theirs.append(seen.rate)
            load = closed_loop(server.url, clients=CONNECTIONS, seconds=seconds, apart=True)
            ours.append(run_now(load).achieved)
        kept = []
        for rate in rates:
            load = open_loop(server.url, rate=rate, seconds=min(seconds, 2), warm=20, apart=True)
            result = run_now(load)
            if not _on_schedule(result):
                break
            kept.append(rate)
    made = [
        Figure("ceiling_per_second", statistics.median(ours), note="closed loop, nginx"),
        Figure("open_loop_on_schedule", max(kept, default=0), note="99 % ready within 5 ms"),
    ]
    if theirs:
        ratio = statistics.median(a / b for a, b in zip(ours, theirs))
        note = f"ours {_rate(ours)}, wrk {_rate(theirs)} (C against Python), one thread each"
        return [Figure("ceiling_over_wrk", ratio, note=note), *made]
    return [Figure("ceiling_over_wrk", None, note="wrk could not be had"), *made]


def start_ups(*, rounds: int) -> list[Figure]:
    """Seconds from `with services.X()` to its first line, beside what an idle machine took."""
    made = []
    busy = f", load average {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    for name, (fact, goal) in FACTS.items():
        times = []
        with suppress(services.ServiceError):  # no server of that kind on this platform
            for _ in range(rounds):
                begun = time.perf_counter()
                with getattr(services, name)():
                    times.append(time.perf_counter() - begun)
        value = statistics.median(times) if times else None
        note = f"{fact / 1000:g} s when idle{busy}" if times else "not to be had on this platform"
        made.append(Figure(f"{name}_start_seconds", value, goal, at_most=True, note=note))
    with services.web_app("serving_app:app", cwd=Path(__file__).parent) as server:
        note = "uvicorn's imports included"
        made.append(Figure("uvicorn_start_seconds", server.started_in, note=note))
    return made


def _on_schedule(result: LoadResult) -> bool:
    return result.kept_up and result.lag.p99 <= 0.005 and not result.failed


def _ms(seconds: list[float]) -> str:
    return f"{1000 * statistics.median(seconds):.3g} ms"


def _rate(rates: list[float]) -> str:
    return f"{statistics.median(rates):,.0f}/s"


if __name__ == "__main__":
    sys.exit(main())
