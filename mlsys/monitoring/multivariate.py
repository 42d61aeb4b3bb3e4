"""Drift that no single column shows: a classifier that tries to tell the two samples apart, and the
error of a linear summary of the reference.

Both hold rows back: what judges has not been fitted on the rows it judges. Numbers only; encode
categories first. A missing value is fine for the classifier, not for the summary.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse, stats
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

from mlsys.monitoring.distances import ks, ks_p_value
from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.threads import few_threads

LEAST = 20  # rows a side


@dataclass(frozen=True, slots=True)
class Separation:
    """How well two samples are told apart: `auc` (0.5: not at all, 1: fully) and its p-value.

    `folds` holds the area under the ROC curve of each held-out part.
    """

    auc: float
    p_value: float
    folds: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """Root-mean-square error a row, in reference standard deviations, of the held-back half of the
    reference and of the current rows; `p_value` of their difference (KS), `components` kept."""

    reference: float
    current: float
    p_value: float
    components: int


def domain_classifier(
    reference: Any,
    current: Any,
    *,
    folds: int = 5,
    seed: int = 0,
    classifier: Callable[[], Any] | None = None,
) -> Separation:
    """Cross-validated AUC of a classifier that says from which of the two a row comes.

    Each side is a table of numbers (rows × columns; a SciPy sparse matrix too). `classifier` makes
    an unfitted scikit-learn one; gradient-boosted trees by default, which see interactions.
    The p-value does not come from the cross-validated areas: those share their training rows, and
    on equal data their sum varies about twice as much as independent ones would. Instead each part
    is judged by a classifier that knew only the parts before it: then each Mann–Whitney z is
    standard normal given all before. A two-sample test by classifier: Lopez-Paz and Oquab, ICLR
    2017. Raises MonitoringError for fewer than 20 rows a side or unlike columns.
    """
    a, b = _matrix(reference, "reference"), _matrix(current, "current data")
    _same_width(a, b)
    x = sparse.vstack([a, b]).tocsr() if sparse.issparse(a) else np.vstack([a, b])
    y = np.repeat([0, 1], [a.shape[0], b.shape[0]])
    make = classifier or (
        lambda: HistGradientBoostingClassifier(
            max_iter=40, max_leaf_nodes=15, early_stopping=False, random_state=seed
        )
    )
    parts = [
        test for _, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(y, y)
    ]

    def held_out(place: int, others: list[np.ndarray]) -> tuple[float, float]:
        train, test = np.concatenate(others), parts[place]
        with few_threads(len(y)):
            said = make().fit(x[train], y[train]).predict_proba(x[test])[:, 1]
        return _area(said[y[test] == 1], said[y[test] == 0])

    areas = [held_out(i, parts[:i] + parts[i + 1 :])[0] for i in range(folds)]
    z = sum(held_out(i, parts[:i])[1] for i in range(1, folds)) / math.sqrt(folds - 1)
    return Separation(float(np.mean(areas)), float(stats.norm.sf(z)), tuple(areas))


def pca_reconstruction(
    reference: Any, current: Any, *, keep: float = 0.65, seed: int = 0
) -> Reconstruction:
    """Fit principal components that keep the share `keep` of the variance to half of the reference,
    and compare how badly they rebuild its other half and the current rows.

    The error rises when the columns' linear relations break; a move along the kept components, or
    one that leaves the correlations alone, it cannot see. Raises MonitoringError as
    `domain_classifier`, and for values that are missing or infinite.
    """
    a, b = _matrix(reference, "reference"), _matrix(current, "current data")
    _same_width(a, b)
    if sparse.issparse(a) or not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise MonitoringError("Reconstruction needs a full table of finite numbers: fill or drop.")
    order = np.random.default_rng(seed).permutation(len(a))
    fitted, held = a[order[::2]], a[order[1::2]]
    scale = StandardScaler().fit(fitted)
    pca = PCA(n_components=keep, svd_solver="full").fit(scale.transform(fitted))

    def errors(rows: np.ndarray) -> np.ndarray:
        scaled = scale.transform(rows)
        rebuilt = pca.inverse_transform(pca.transform(scaled))
        return np.sqrt(np.mean((scaled - rebuilt) ** 2, axis=1))

    before, now = errors(held), errors(b)
    p_value = ks_p_value(ks(before, now), len(before), len(now))
    return Reconstruction(float(before.mean()), float(now.mean()), p_value, int(pca.n_components_))


def _matrix(table: Any, word: str) -> Any:
    if sparse.issparse(table):
        made = table.tocsr()
    else:
        try:
            made = np.asarray(table, dtype=float)
        except (TypeError, ValueError):
            names = (
                [str(n) for n in table.columns if not pd.api.types.is_numeric_dtype(table[n])]
                if isinstance(table, pd.DataFrame)
                else []
            )
            raise MonitoringError(
                f"The {word} must hold numbers only; encode {', '.join(names) or 'the rest'} first."
            ) from None
        if made.ndim == 1:
            made = made[:, None]
    if made.ndim != 2 or made.shape[0] < LEAST or not made.shape[1]:
        raise MonitoringError(f"The {word} must be a table of at least {LEAST} rows.")
    return made


def _same_width(a: Any, b: Any) -> None:
    if a.shape[1] != b.shape[1]:
        raise MonitoringError(
            f"The reference has {a.shape[1]} columns and the current data {b.shape[1]}."
        )


def _area(high: np.ndarray, low: np.ndarray) -> tuple[float, float]:
    """Area under the ROC curve, and its z with ties counted (Mann and Whitney, 1947)."""
    ranks = stats.rankdata(np.concatenate([high, low]))
    n, m = len(high), len(low)
    u = ranks[:n].sum() - n * (n + 1) / 2
    _, ties = np.unique(ranks, return_counts=True)
    lost = float((ties**3 - ties).sum()) / ((n + m) * (n + m - 1))
    deviation = math.sqrt(max(n * m / 12 * (n + m + 1 - lost), 0.0))
    return float(u / (n * m)), float((u - n * m / 2) / deviation) if deviation else 0.0
