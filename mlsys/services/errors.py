"""The one exception of `mlsys.services`: a sentence that says what is wrong and what to do."""

from __future__ import annotations


class ServiceError(RuntimeError):
    """A server could not be found, did not start, or did not do what was asked of it."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of a traceback: the sentence alone."""
        return [f"ServiceError: {self}"]
