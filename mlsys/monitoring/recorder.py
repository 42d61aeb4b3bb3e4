"""Between a service and its log: collects rows of many requests into one safe append.

Requests hand their rows over and wait, or not, for the future that says that they are safe. While
one append is at the disk the next one gathers (group commit), so fsync's price is shared. The queue
is bounded: when the disk cannot keep up, further rows are refused and **counted**, never silently
lost and never allowed to eat the memory; the service goes on answering.

Measured on a shared 2-core machine, fsync and a profile every 1,000 rows included (10 columns):
10,000 rows a second cost 0.07 s of one core a second in batches of 1,000, 0.25 s in batches of
100, 0.6 s one by one (`load` measures it). At that rate the queue of 50,000 rows is five seconds of
a disk that stands still; what comes after is dropped, and `Counts.dropped` says how much.
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Self

import pyarrow as pa

from mlsys.monitoring.store import Writer


def _joined(batches: list[pa.RecordBatch]) -> pa.Table:
    """One table in one piece: a thousand requests of one row must not cost a thousand frames."""
    if all(batch.schema.equals(batches[0].schema) for batch in batches):
        return pa.Table.from_batches(batches).combine_chunks()
    tables = [pa.Table.from_batches([batch]) for batch in batches]
    return pa.concat_tables(tables, promote_options="permissive").combine_chunks()


@dataclass(frozen=True)
class Counts:
    """Rows so far: safe in the log, waiting, refused because the queue was full, failed."""

    safe: int
    waiting: int
    dropped: int
    failed: int
    unwatched: int


class Recorder:
    """A thread that writes what `put` hands over; a context manager that empties its queue at exit.

    `capacity` is the rows that may wait, `most` the rows of one append. `then` gets each table once
    it is safe (to profile it, say); when it raises, `unwatched` counts the rows, the log goes on.
    """

    def __init__(
        self,
        writer: Writer,
        *,
        capacity: int = 50_000,
        most: int = 10_000,
        then: Callable[[pa.Table], object] | None = None,
    ) -> None:
        self._writer, self._capacity, self._most, self._then = writer, capacity, most, then
        self._queue: deque[tuple[pa.RecordBatch, Future]] = deque()
        self._waiting = self._safe = self._dropped = self._failed = self._unwatched = 0
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def put(self, rows: pa.RecordBatch) -> Future | None:
        """Hand rows over. The future is done when they are safe; None: they were refused."""
        with self._changed:
            if self._closing or self._waiting + rows.num_rows > self._capacity:
                self._dropped += rows.num_rows
                return None
            future: Future = Future()
            self._queue.append((rows, future))
            self._waiting += rows.num_rows
            self._changed.notify_all()
            return future

    @property
    def counts(self) -> Counts:
        with self._changed:
            return Counts(self._safe, self._waiting, self._dropped, self._failed, self._unwatched)

    def _take(self) -> list[tuple[pa.RecordBatch, Future]]:
        """Wait for rows; an empty list says that there will be no more."""
        with self._changed:
            while not self._queue and not self._closing:
                self._changed.wait()
            taken, rows = [], 0
            while self._queue and (not taken or rows + self._queue[0][0].num_rows <= self._most):
                taken.append(self._queue.popleft())
                rows += taken[-1][0].num_rows
            return taken

    def _run(self) -> None:
        while taken := self._take():
            try:
                table = _joined([batch for batch, _ in taken])
                self._writer.append(table)
            except Exception as error:
                self._settle(taken, error)
                continue
            self._settle(taken, None)
            if self._then:
                try:
                    self._then(table)
                except Exception:
                    with self._changed:
                        self._unwatched += table.num_rows

    def _settle(self, taken, error: Exception | None) -> None:
        rows = sum(batch.num_rows for batch, _ in taken)
        with self._changed:
            self._waiting -= rows
            if error is None:
                self._safe += rows
            else:
                self._failed += rows
        for _, future in taken:
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

    def close(self) -> None:
        """Write what waits, then stop."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self.close()
