"""A writer that is going to be killed: appends batches, notes each acknowledged id, for ever.

As a program it imports once and forks a fresh writer a line: `folder acknowledged first` on its
standard input starts one and answers its process id; an empty line waits for it and answers the
signal that ended it.
"""

import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from mlsys.monitoring.store import Writer

START = datetime(2026, 1, 1, tzinfo=UTC)


def batch(first: int, rows: int) -> pa.Table:
    """Rows with the ids first, first + 1, …; 40 minutes apart, so that days come and go."""
    ids = range(first, first + rows)
    return pa.table(
        {
            "at": pa.array([START + timedelta(minutes=40 * i) for i in ids]),
            "id": pa.array(ids),
            "text": [f"row {i} " * 5 for i in ids],
        }
    )


def write_many(folder: Path) -> None:
    """4,000 rows in 200 appends and many segments, which the writer compacts meanwhile."""
    with Writer(folder, segment_bytes=10_000, durable=False) as writer:
        for first in range(0, 4_000, 20):
            writer.append(batch(first, 20))


def write_until_killed(folder: str, acknowledged: str, first: int) -> None:
    notes = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with Writer(Path(folder), segment_bytes=4_000) as writer:
        while True:
            rows = 1 + first % 37
            writer.append(batch(first, rows))
            first += rows
            os.write(notes, b"%d\n" % first)


def main() -> None:
    batch(0, 1)  # imports what PyArrow imports at its first conversion (pandas)
    pid = 0
    for line in sys.stdin:
        if line.strip():
            folder, acknowledged, first = line.split()
            pid = os.fork()
            if pid == 0:
                try:
                    write_until_killed(folder, acknowledged, int(first))
                finally:
                    os._exit(1)
            print(pid, flush=True)
        else:
            _, status = os.waitpid(pid, 0)
            print(os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, flush=True)
            pid = 0
    if pid:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
