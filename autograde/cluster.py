"""The same jobs on the workers of a Dask cluster. Submissions run there, in the same sandbox; the
gradebook is written here, by one process. The workers must see the course's folder under the same
path (a network disk) and have this package and what the assignment imports.
"""

import asyncio
import contextlib
import pickle
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from autograde import early
from autograde.workers import Job, WorkerError

_ready: dict[str, tuple[Any, Callable[[Job], Any]]] = {}
_lock = threading.Lock()
_PATIENCE = 10  # seconds in which a scheduler answers
_MOST_TRIES = 1  # a job whose worker ended is tried so often again, as on one machine


class ClusterPool:
    """What `autograde.workers.Pool` is on one machine: a context manager whose `run` does jobs."""

    def __init__(self, address: str, prepare: Callable[..., Any], *arguments: Any) -> None:
        try:
            import distributed  # noqa: F401
        except ImportError:
            raise WorkerError(
                "--cluster needs Dask: install the extra 'cluster', for example with "
                "pip install dask distributed."
            ) from None
        try:
            self.client = _client(address)
        except Exception as error:  # distributed raises what it likes
            why = str(error) or type(error).__name__
            raise WorkerError(f"No Dask scheduler answers at {address}: {why}.") from None
        # Told as bytes, which a worker reads once it can import soon.
        self.told = pickle.dumps((prepare, arguments))
        self.run_id = f"{id(self)}-{self.client.id}"
        if not self.client.scheduler_info(n_workers=-1)["workers"]:
            self.client.close()
            raise WorkerError(f"The cluster at {address} has no workers.")

    def __enter__(self) -> "ClusterPool":
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(OSError):  # it has gone, and its workers' processes with it
            self.client.run(_release, self.run_id)
        self.client.close()

    def run(
        self, jobs: Iterable[Job], *, started: Callable[[Job], None] = lambda job: None
    ) -> Iterator[tuple[Job, Any]]:
        """Do all jobs; yields each with its answer, or None if its worker ended twice."""
        from distributed import KilledWorker, as_completed

        futures = {}
        for job in jobs:
            future = self.client.submit(
                _do, self.run_id, self.told, job, pure=False, retries=_MOST_TRIES
            )
            futures[future] = job
            started(job)
        with self.client.as_current():
            completed = as_completed(list(futures))
        for future in completed:
            try:
                answer = future.result()
            except KilledWorker:
                answer = None
            except Exception as error:
                raise WorkerError(f"A worker of the cluster failed: {error}") from error
            yield futures.pop(future), answer


def _client(address: str) -> Any:
    """A client of the scheduler at `address`, made only once that has answered: distributed waits
    for ever at a port that says nothing, as the dashboard's, and a client that failed can block
    the next one when it is garbage collected.
    """
    from distributed import Client, Security
    from distributed.comm import connect

    async def knock() -> None:
        secret = Security().get_connection_args("client")
        (await connect(address, timeout=_PATIENCE, **secret)).abort()

    with ThreadPoolExecutor(1) as pool:  # where we stand, a notebook say, a loop may run already
        pool.submit(asyncio.run, asyncio.wait_for(knock(), 3 * _PATIENCE)).result()
    return Client(address, timeout=_PATIENCE, set_as_default=False)


def _do(run: str, told: bytes, job: Job) -> Any:
    """On a worker: make what jobs need once, then do one at a time."""
    with _lock:
        if run not in _ready:
            with early.lean():
                prepare, arguments = pickle.loads(told)  # our own process wrote it
            context = prepare(*arguments)
            _ready[run] = (context, context.__enter__())
        return _ready[run][1](job)


def _release(run: str) -> None:
    with _lock:
        if run in _ready:
            _ready.pop(run)[0].__exit__(None, None, None)
