"""Model monitoring: is what the model sees now what it was trained on, and does it matter?

This module only names things: what is heavy (Numba, SciPy) is imported when it is first asked for.
"""

from importlib import import_module

from mlsys.monitoring.errors import MonitoringError

_WHERE = {
    "Builder": "profile_build",
    "ColumnProfile": "profiles",
    "Grid": "profile_grid",
    "Profile": "profiles",
    "merge": "profiles",
    "profile": "profiles",
    "read_upload": "sources_upload",
    "Report": "verdict_report",
    "Rules": "verdicts",
    "judge": "verdicts",
    "judge_like": "styles",
    "measure_tables": "drift",
}

__all__ = ["MonitoringError", *_WHERE]


def __getattr__(name: str) -> object:
    if name in _WHERE:
        return getattr(import_module(f"mlsys.monitoring.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
