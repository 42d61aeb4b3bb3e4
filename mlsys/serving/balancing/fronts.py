"""Balancers in front of the same replicas, measured side by side, and what may befall a replica.

Each front has a lane of its own in every replica (`balancing.replica`), so that several policies
meet the same machines, faults and busy moments without standing in one another's line.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Any, Protocol
from urllib.parse import urlencode
from urllib.request import Request as Post
from urllib.request import urlopen

import numpy as np
import pandas as pd

from mlsys.serving.balancing.tracing import WORK_MS, as_events, new_trace, spans_of
from mlsys.serving.load import LoadResult, Request, open_loop
from mlsys.serving.timeline import Event

APP = "mlsys.serving.balancing.replica:app"
FAULTS = ("answers 500", "frozen", "killed")
SLOW = 0.3  # s; a front that spreads its load well has a p95 of half as much
LATE = 0.2  # s that a request may be sent late: fronts that count time-outs saw a stall as well
MOST_LOST = 0.35  # share of a front that deals out in turn, with one replica of four away


def health(*, patience_ms: int, failures: int, rest: float) -> dict[str, Any]:
    """What `services.nginx` needs to notice all three: a time-out and a 500 count as failures, a
    request that met one is tried elsewhere, and after so many a replica rests for so long (s)."""
    config = (
        f"proxy_connect_timeout 100ms; proxy_read_timeout {patience_ms}ms;"
        " proxy_next_upstream error timeout http_500;"
    )
    return {"max_fails": failures, "fail_timeout": rest, "config": config}


class Front(Protocol):
    """Anything with an address."""

    url: str


class Replica(Front, Protocol):
    """A process that can be hurt, as `services.replicas` gives them."""

    def kill(self) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...


Balancer = Callable[..., AbstractContextManager[Front]]  # such as services.nginx


async def side_by_side(
    fronts: Mapping[str, Front],
    *,
    rate: float,
    seconds: float,
    timeout: float = 5.0,
    seed: int = 0,
    lane: str = "front",
) -> dict[str, LoadResult]:
    """The same arrivals at each front, at once; labels say which replica answered."""
    loads = []
    for place, (name, front) in enumerate(fronts.items()):
        url = f"{front.url}/predict?lane={lane}-{place}"
        loads.append(
            open_loop(Request(url, label="X-Upstream"), rate=rate, seconds=seconds, seed=seed,
                      timeout=timeout, name=name)
        )  # fmt: skip
    return dict(zip(fronts, await asyncio.gather(*loads), strict=True))


async def behind(
    nginx: Balancer,
    replicas: Sequence[Replica],
    kinds: Mapping[str, Mapping[str, Any]],
    **load: Any,
) -> dict[str, LoadResult]:
    """Start one front of each kind (arguments of `services.nginx`), and measure them.

    Where even the best one has a p95 of over `SLOW` s, the machine had no time, and all are
    measured again, at most three times.
    """
    with _started(nginx, replicas, kinds) as fronts:
        for _ in range(3):
            measured = await side_by_side(fronts, **load)
            if min(one.latency.percentile(95) for one in measured.values()) < SLOW:
                break
    return measured


@contextmanager
def _started(
    nginx: Balancer, replicas: Sequence[Replica], kinds: Mapping[str, Mapping[str, Any]]
) -> Iterator[dict[str, Front]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(nginx(replicas, **kind)) for name, kind in kinds.items()}


async def deaths(
    nginx: Balancer,
    replicas: Sequence[Replica],
    kinds: Mapping[str, Mapping[str, Any]],
    *,
    rate: float = 60.0,
    seconds: float = 1.2,
    timeout: float = 1.0,
    seed: int = 0,
) -> pd.DataFrame:
    """Share of the requests that failed, by front (rows) and by what befell a replica (columns).

    The first replica answers 500 for a while, the second is frozen for a while, the third is
    killed, and stays so. The first front is the control: where it loses more than what one replica
    of four can lose, or the requests themselves went out late, the machine stood still, and the
    fault is measured again, in fresh lanes.
    """
    if len(replicas) < len(FAULTS):
        raise ValueError(f"{len(replicas)} replicas cannot die {len(FAULTS)} deaths; give more")
    shares: dict[str, dict[str, float]] = {}
    with _started(nginx, replicas, kinds) as fronts:
        for what, victim in zip(FAULTS, replicas, strict=False):
            with fault(what, victim):
                for attempt in range(4):
                    seen = await side_by_side(
                        fronts, rate=rate, seconds=seconds, timeout=timeout, seed=seed,
                        lane=f"{FAULTS.index(what)}-{attempt}",
                    )  # fmt: skip
                    late = max(one.lag.percentile(100) for one in seen.values())
                    if next(iter(seen.values())).failed < MOST_LOST and late < LATE:
                        break
                    await asyncio.sleep(1)  # whom the stall had ejected may come back
            shares[what] = {name: result.failed for name, result in seen.items()}
    return pd.DataFrame(shares)


@contextmanager
def copies(start: Balancer, count: int = 4, *, ms: float = 20) -> Iterator[Sequence[Any]]:
    """So many processes of `balancing.replica` until the end of the `with`; `start` is
    `services.replicas`. What is still in their lines at the end is not worth waiting for."""
    settings = [{"NAME": f"replica {i}", "MS": str(ms), "SEED": str(i)} for i in range(count)]
    with start(APP, settings) as running:
        try:
            yield running
        finally:
            for one in running:
                with suppress(OSError):
                    _post(one.url, "/-set", {"ms": 0}, timeout=0.5)


def tell(replica: Front, path: str = "/-set", **what: Any) -> Any:
    """Change a running replica: `tell(replica, ms=60)`, `tell(replica, fails=1)`."""
    return _post(replica.url, path, what)


def _post(url: str, path: str, what: Mapping[str, Any], *, timeout: float = 10) -> Any:
    post = Post(f"{url}{path}?{urlencode(what)}", method="POST")
    with urlopen(post, timeout=timeout) as answered:
        return json.load(answered)


def healthy(url: str, *, patience: float = 1.0) -> bool:
    """Whether a replica says that it is well, within `patience` s."""
    try:
        with urlopen(f"{url}/health", timeout=patience) as answered:
            return answered.status == 200
    except OSError:  # refused, reset, late, or a status of 400 and over
        return False


@contextmanager
def fault(what: str, replica: Replica) -> Iterator[None]:
    """One of FAULTS for the length of the `with`; who is killed stays dead."""
    if what not in FAULTS:
        raise ValueError(f"{what!r} is no fault; take one of {', '.join(FAULTS)}")
    if what == "killed":
        replica.kill()
        yield
        return
    begin, end = {
        "frozen": (replica.pause, replica.resume),
        "answers 500": (lambda: tell(replica, fails=1), lambda: tell(replica, fails=0)),
    }[what]
    begin()
    try:
        yield
    finally:
        end()


class Choice(Protocol):
    """Who picks a replica's address and is told how the request ended; times in s."""

    def pick(self, now: float) -> str: ...

    def saw(self, replica: str, ok: bool, now: float) -> None: ...


class Turns:
    """What a pool of replicas knows: whose turn it was, who failed how often in a row (`row`), and
    until when who is out (`until`, s). The exercise decides; see `Choice`."""

    def __init__(
        self, replicas: Iterable[str], failures: int = 3, rest: float = 1.0, most: float = 0.5
    ) -> None:
        self.replicas, self.turn = list(replicas), -1
        self.failures, self.rest, self.most = failures, rest, most
        self.row = dict.fromkeys(self.replicas, 0)
        self.until: dict[str, float] = {}


def count_failures(pool: Callable[..., Choice], replicas: Sequence[Front], *, requests: int) -> int:
    """Requests that fail when one after another goes where the pool says, with a rest so long
    that nobody comes back."""
    chooser, failed = pool([one.url for one in replicas], rest=3600), 0
    for _ in range(requests):
        at = chooser.pick(0)
        ok = healthy(at, patience=10)  # nobody is frozen here: a late answer is a busy machine's
        chooser.saw(at, ok, 0)
        failed += not ok
    return failed


def quantiles(runs: Mapping[str, Any]) -> pd.DataFrame:
    """p50, p95 and p99 in ms, of load results or of arrays of seconds."""
    rows = {}
    for name, run in runs.items():
        if isinstance(run, LoadResult):
            values = [run.latency.percentile(q) for q in (50, 95, 99)]
        else:
            values = np.percentile(run, [50, 95, 99])
        rows[name] = [1000 * value for value in values]
    return pd.DataFrame.from_dict(rows, orient="index", columns=["p50", "p95", "p99"])


# --- tracing


def join(replicas: Sequence[Front]) -> dict[str, Front]:
    """Deal the services of a page out to the replicas, tell every one of them where each is, and
    return who is what."""
    services = {name: replicas[i % len(replicas)] for i, name in enumerate(WORK_MS)}
    ports = {name: front.url.rsplit(":", 1)[1] for name, front in services.items()}
    for url in {front.url for front in services.values()}:
        _post(url, "/-peers", ports)
    return services


def trace(services: Mapping[str, Front], query: str = "") -> list[Event]:
    """Ask for a page under a new trace and gather what all processes noted, as a timeline."""
    number, headers = new_trace()
    with urlopen(Post(f"{services['page'].url}/call/page{query}", headers=dict(headers)),
                 timeout=10) as answered:  # fmt: skip
        answered.read()
    told: list[dict[str, Any]] = []
    for url in {front.url for front in services.values()}:
        with suppress(OSError), urlopen(f"{url}/-spans?trace={number}", timeout=5) as answered:
            told += json.load(answered)
    return as_events(spans_of(told))
