"""How much the log can take: rows offered at a rate, logged and profiled, and what that costs.

For the benchmark: the service's recorder without its HTTP, and beside it the profiles of windows
in constant memory that a process of its own could keep; the service leaves them to `watcher`.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from time import perf_counter, process_time, sleep

import pyarrow as pa

from mlsys.monitoring import service, traffic
from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.recorder import Counts, Recorder
from mlsys.monitoring.store import Writer
from mlsys.monitoring.streams import WindowProfiles

DAY = 20_000


@dataclass(frozen=True)
class Load:
    """`cpu` seconds of this process and `seconds` by the clock, from first row to last safe.

    `cores` is their ratio to the traffic's own length: under 1, one core carries it. `lost` is the
    share of the rows that were refused because the queue was full, `carried` how many a second were
    made safe. Every row offered is safe, refused or failed in `counts`.
    """

    rate: float
    batch: int
    offered: int
    cpu: float
    seconds: float
    counts: Counts

    @property
    def cores(self) -> float:
        return self.cpu / (self.offered / self.rate)

    @property
    def lost(self) -> float:
        return self.counts.dropped / self.offered

    @property
    def carried(self) -> float:
        return self.counts.safe / self.seconds


def rows(n: int, *, seed: int = 0) -> pa.Table:
    """n logged predictions of the healthy scene, as the service logs them.

    Beyond `DAY` of them the day's rows come again: drawing and scoring a row takes longer than
    logging it.
    """
    return pa.concat_tables([_day(min(n, DAY), seed)] * -(-n // DAY)).slice(0, n)


@lru_cache(maxsize=4)
def _day(n: int, seed: int) -> pa.Table:
    mail = traffic.scene_frame("healthy", per_day=n, days=1, seed=seed)
    mail["version"] = service.BUILT_IN
    mail = mail.reindex(columns=service.PREDICTIONS.names)  # nobody was asked: no `took_ms`
    table = pa.Table.from_pandas(mail, preserve_index=False)
    return table.cast(service.PREDICTIONS).combine_chunks()


def offer(
    folder: Path | str,
    *,
    rate: float = 10_000,
    seconds: float = 2,
    batch: int = 100,
    window: int = 1_000,
    capacity: int = 50_000,
) -> Load:
    """Offer `rate` rows a second for `seconds`, in batches, to a fresh log in `folder`.

    Each row is logged with fsync and each `window` rows are profiled. Nobody waits for the log, as
    a service must not: `capacity` rows may be under way, and what comes on top is refused and
    counted. Raises MonitoringError for a load that is none, or that is too long to make.
    """
    if rate <= 0 or seconds <= 0 or batch < 1 or rate * seconds > 5_000_000:
        raise MonitoringError("Offer between 1 and 5 million rows, in batches of 1 or more.")
    batches = rows(int(rate * seconds)).to_batches(max_chunksize=batch)
    windows = WindowProfiles(window)

    def then(table: pa.Table) -> None:
        windows.add(table.select([*traffic.FEATURES, "score"]).to_pandas())

    with Writer(Path(folder) / "predictions") as log:
        then(rows(2))  # compile and import before the clock starts
        recorder = Recorder(log, capacity=capacity, then=then)
        begun, used, sent = perf_counter(), process_time(), 0
        for one in batches:
            if (wait := begun + sent / rate - perf_counter()) > 0:
                sleep(wait)
            recorder.put(one)
            sent += one.num_rows
        recorder.close()
        return Load(
            rate, batch, sent, process_time() - used, perf_counter() - begun, recorder.counts
        )
