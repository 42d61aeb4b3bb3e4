"""Model monitoring: is what the model sees now what it was trained on, and does it matter?

`profile` sums rows up, `measure_tables` says how far columns moved, `judge` which of them drifted;
`classification`, `regression` and `ranking` score with labels, `estimate_classifier` and
`estimate_regressor` without; `diagnose` tells kinds of shift apart; `suggest` and `check` watch
quality, `Alerts` tell people, `Writer` and `Store` keep the log.

This module only names things: what is heavy (Numba, SciPy) is imported at a name's first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

# No module is called like a name in it: importing it would put the module in the name's place.
_NAMES = {
    "alerts": ("Alert", "Alerts", "Notice", "Rule", "Silence"),
    "attribution": ("attribution_drift",),
    "delivery": ("Delivery", "PrometheusPage", "to_log", "to_webhook"),
    "drift": ("Move", "measure", "measure_tables"),
    "errors": ("MonitoringError",),
    "estimation": ("calibrate", "estimate_classifier", "estimate_regressor", "learn_loss"),
    "fairness": ("four_fifths", "gaps"),
    "labels": ("as_known", "early_label_bias", "knowable"),
    "multivariate": ("domain_classifier", "pca_reconstruction"),
    "performance": ("by_slice", "calibration", "classification", "ranking", "regression"),
    "profile_build": ("Builder",),
    "profile_grid": ("Grid",),
    "profiles": ("ColumnProfile", "Profile", "merge", "profile"),
    "quality": ("Checks", "Finding", "check", "suggest"),
    "recorder": ("Recorder",),
    "shift": ("diagnose", "estimate_label_shift", "prediction_drift"),
    "slo": ("BurnRule", "Objective", "burn"),
    "sources_upload": ("read_upload",),
    "store": ("Log", "Store", "Writer"),
    "streams": ("DETECTORS", "WindowProfiles", "delays"),
    "styles": ("judge_like",),
    "text": ("text_drift",),
    "verdict_report": ("Report", "Verdict"),
    "verdicts": ("Rules", "judge"),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"mlsys.monitoring has no {name!r}; it has {', '.join(__all__)}.")
    value = getattr(import_module(f"mlsys.monitoring.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
