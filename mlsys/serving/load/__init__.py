"""The load generator: who sends, when, and what came of it. What lessons use is here by name."""

from mlsys.serving.load.arrivals import LoadError, fixed, poisson
from mlsys.serving.load.generator import closed_loop, open_loop, run_now
from mlsys.serving.load.result import LoadResult
from mlsys.serving.load.targets import Request, Tcp

__all__ = [
    "LoadError",
    "LoadResult",
    "Request",
    "Tcp",
    "closed_loop",
    "fixed",
    "open_loop",
    "poisson",
    "run_now",
]
