"""How many threads a model that judges small tables may use.

OpenMP and BLAS threads wait for each other by spinning: on a busy machine a fit of a few thousand
rows took 20 to 80 times as long with two threads as with one, and on a calm one it gained nothing.
"""

from threadpoolctl import threadpool_limits

SMALL = 20_000  # rows


def few_threads(rows: int) -> threadpool_limits:
    """A context in which a table of up to `SMALL` rows is worked on by one thread."""
    return threadpool_limits(1 if rows < SMALL else None)
