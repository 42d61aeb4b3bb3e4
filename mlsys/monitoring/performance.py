"""How well a model does, once labels are known: by metric, by slice, with intervals.

`classification`, `regression` and `ranking` turn arrays into a small frame, one row a metric;
`by_slice` asks the same for each group of rows; `calibration` says whether a score of 0.8 comes
true eight times in ten. What can be said before all labels are in is in `labels`, what can be said
without any in `estimation`.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.intervals import Interval, bootstrap, bootstrap_mean, wilson

ECE_BINS = 10


def _pair(truth, answer, what: str) -> tuple[np.ndarray, np.ndarray]:
    truth, answer = np.asarray(truth), np.asarray(answer)
    if truth.shape != answer.shape or truth.ndim != 1:
        raise MonitoringError(
            f"Labels and {what} must be two columns of one length: "
            f"they have the shapes {truth.shape} and {answer.shape}."
        )
    return truth, answer


def _binary(truth: np.ndarray) -> np.ndarray:
    strange = truth[~np.isin(truth, (0, 1))]
    if len(strange):
        raise MonitoringError(
            f"Labels of a two-class model are 0 and 1; these hold {strange[0].item()!r}."
        )
    return truth.astype(int)


def _probabilities(score) -> np.ndarray:
    score = np.asarray(score, dtype=float)
    if not np.isfinite(score).all():
        raise MonitoringError(
            "Some scores are missing or infinite; drop those rows and count them."
        )
    if len(score) and (score.min() < 0 or score.max() > 1):
        raise MonitoringError(
            f"Scores are probabilities from 0 to 1; these run from {score.min():g} to "
            f"{score.max():g}. Pass them through a sigmoid or a calibration first."
        )
    return score


def roc_auc(truth: np.ndarray, score: np.ndarray) -> float:
    """Share of (positive, negative) pairs in the right order, ties half: Hanley and McNeil 1982.

    nan when only one class is there.
    """
    positive = np.asarray(truth) == 1
    yes, no = int(positive.sum()), int((~positive).sum())
    if not yes or not no:
        return float("nan")
    ranks = rankdata(score)
    return float((ranks[positive].sum() - yes * (yes + 1) / 2) / (yes * no))


def brier(truth: np.ndarray, score: np.ndarray) -> float:
    """Mean squared distance of probability and outcome, 0 to 1 (Brier 1950)."""
    return float(np.mean((np.asarray(score) - np.asarray(truth)) ** 2))


def log_loss(truth: np.ndarray, score: np.ndarray) -> float:
    """Mean negative log likelihood in nats; a score of exactly 0 or 1 counts as 1e-15 from it."""
    score = np.clip(score, 1e-15, 1 - 1e-15)
    truth = np.asarray(truth)
    return float(-np.mean(truth * np.log(score) + (1 - truth) * np.log1p(-score)))


def expected_calibration_error(
    truth: np.ndarray, score: np.ndarray, *, bins: int = ECE_BINS
) -> float:
    """Σ (n_b / n) · |share of positives − mean score| over bins of equal width.

    Naeini, Cooper and Hauskrecht, AAAI 2015. Depends on `bins`: compare only equal ones.
    """
    truth, score = np.asarray(truth), np.asarray(score)
    bin_of = np.minimum((score * bins).astype(int), bins - 1)
    gap = np.bincount(bin_of, weights=truth - score, minlength=bins)
    return float(np.abs(gap).sum() / len(score))


def calibration(truth, score, *, bins: int = ECE_BINS, confidence: float = 0.95) -> pd.DataFrame:
    """The reliability diagram: one row a non-empty bin of equal width.

    Columns: score (the bin's mean), rate (share of positives), low, high (Wilson), n.
    """
    truth, score = _pair(truth, score, "scores")
    truth, score = _binary(truth), _probabilities(score)
    bin_of = np.minimum((score * bins).astype(int), bins - 1)
    rows = []
    for one in np.unique(bin_of):
        inside = bin_of == one
        share = wilson(int(truth[inside].sum()), int(inside.sum()), confidence=confidence)
        rows.append((float(score[inside].mean()), share.value, share.low, share.high, share.n))
    return pd.DataFrame(rows, columns=["score", "rate", "low", "high", "n"])


def classification(
    truth,
    predicted,
    score=None,
    *,
    confidence: float = 0.95,
    draws: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """Metrics of a classifier, one row each: metric, value, low, high, n.

    Accuracy always; for labels 0 and 1 also recall, precision and f1; with `score` (probability of
    1) also roc_auc, brier, log_loss and ece. Shares have Wilson intervals, the rest a bootstrap of
    `draws` draws. A metric that cannot be computed (no positive seen) is nan, not zero.
    """
    truth, predicted = _pair(truth, predicted, "predictions")
    right = int((truth == predicted).sum())
    found = {"accuracy": wilson(right, len(truth), confidence=confidence)}
    again = {"confidence": confidence, "draws": draws, "seed": seed}
    if np.isin(np.unique(truth), (0, 1)).all() and np.isin(np.unique(predicted), (0, 1)).all():
        yes, said = truth == 1, predicted == 1
        hits = int((yes & said).sum())
        found["recall"] = wilson(hits, int(yes.sum()), confidence=confidence)
        found["precision"] = wilson(hits, int(said.sum()), confidence=confidence)
        found["f1"] = bootstrap(_f1, truth, predicted, **again)
    if score is not None:
        truth, score = _pair(truth, score, "scores")
        truth, score = _binary(truth), _probabilities(score)
        found["roc_auc"] = bootstrap(roc_auc, truth, score, **again)
        found["brier"] = bootstrap_mean((score - truth) ** 2, **again)
        found["log_loss"] = bootstrap(log_loss, truth, score, **again)
        found["ece"] = bootstrap(expected_calibration_error, truth, score, **again)
    return _frame(found)


def _f1(truth: np.ndarray, predicted: np.ndarray) -> float:
    hits = ((truth == 1) & (predicted == 1)).sum()
    total = (truth == 1).sum() + (predicted == 1).sum()
    return float(2 * hits / total) if total else float("nan")


def regression(
    truth, predicted, *, confidence: float = 0.95, draws: int = 200, seed: int = 0
) -> pd.DataFrame:
    """mae, rmse and bias in the label's unit, and r2; one row each, bootstrap intervals.

    `bias` is the mean of prediction minus label: it has a sign, and drift often shows there first.
    """
    truth, predicted = _pair(truth, predicted, "predictions")
    truth, predicted = truth.astype(float), predicted.astype(float)
    if not (np.isfinite(truth).all() and np.isfinite(predicted).all()):
        raise MonitoringError(
            "Some labels or predictions are missing or infinite; drop those rows."
        )
    again = {"confidence": confidence, "draws": draws, "seed": seed}
    error = predicted - truth
    squared = bootstrap_mean(error**2, **again)
    return _frame(
        {
            "mae": bootstrap_mean(np.abs(error), **again),
            "rmse": Interval(*np.sqrt((squared.value, squared.low, squared.high)), squared.n),
            "bias": bootstrap_mean(error, **again),
            "r2": bootstrap(_r2, truth, predicted, **again),
        }
    )


def _r2(truth: np.ndarray, predicted: np.ndarray) -> float:
    spread = ((truth - truth.mean()) ** 2).sum() if len(truth) else 0.0
    return float(1 - ((truth - predicted) ** 2).sum() / spread) if spread else float("nan")


def ranking(
    relevance,
    score,
    query,
    *,
    k: int = 10,
    confidence: float = 0.95,
    draws: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean over queries of ndcg, mrr, map and hit_rate, each of the first `k` results.

    Rows are (query, document) pairs; `relevance` is a gain ≥ 0 (0 is irrelevant). Gains are linear,
    discounts 1 / log2(1 + rank) (Järvelin and Kekäläinen 2002). Queries with nothing relevant have
    no right answer and are left out; intervals are a bootstrap over queries, since the rows of one
    query are not independent.
    """
    relevance, score = _pair(relevance, score, "scores")
    relevance, query = relevance.astype(float), np.asarray(query)
    if not np.isfinite(relevance).all() or (len(relevance) and relevance.min() < 0):
        raise MonitoringError("Relevance is a gain of 0 or more; some here is negative or missing.")
    order = np.lexsort((-score.astype(float), query))
    starts = np.flatnonzero(np.r_[True, query[order][1:] != query[order][:-1]])
    groups = np.split(relevance[order], starts[1:]) if len(order) else []
    per_query = np.array([_one_query(gains, k) for gains in groups if gains.any()]).reshape(-1, 4)
    names = ("ndcg", "mrr", "map", "hit_rate")
    again = {"confidence": confidence, "draws": draws, "seed": seed}
    return _frame({name: bootstrap_mean(per_query[:, i], **again) for i, name in enumerate(names)})


def _one_query(gains: np.ndarray, k: int) -> tuple[float, float, float, float]:
    """ndcg, reciprocal rank, average precision and hit of the first k gains in shown order."""
    best = np.sort(gains)[::-1][:k]
    relevant = int((gains > 0).sum())
    shown = gains[:k]
    discount = 1 / np.log2(np.arange(2, len(shown) + 2))
    hits = np.flatnonzero(shown > 0)
    if not len(hits):
        return 0.0, 0.0, 0.0, 0.0
    precision_at = np.arange(1, len(hits) + 1) / (hits + 1)
    return (
        float(shown @ discount / (best @ discount)),
        float(1 / (hits[0] + 1)),
        float(precision_at.sum() / min(relevant, k)),
        1.0,
    )


def by_slice(
    frame: pd.DataFrame,
    slices: Sequence[str],
    measure: Callable[[pd.DataFrame], pd.DataFrame],
    *,
    minimum: int = 30,
) -> pd.DataFrame:
    """`measure(rows)` for every value of every slice column, beside all rows; smallest value first.

    `measure` gets a part of the frame and returns what `classification` and its kin return. The
    result has their columns after `column` and `slice`; groups of fewer than `minimum` rows are
    kept with n and without a value, so that nobody reads a trend into five rows.
    """
    missing = [name for name in slices if name not in frame]
    if missing:
        raise MonitoringError(
            f"There is no column {missing[0]!r} to slice by; there are {', '.join(frame.columns)}."
        )
    parts = [measure(frame).assign(column="", slice="all")]
    for name in slices:
        for value, rows in frame.groupby(name, observed=True, dropna=False):
            part = measure(rows)
            if len(rows) < minimum:
                part[["value", "low", "high"]] = float("nan")
            parts.append(part.assign(column=name, slice=str(value)))
    found = pd.concat(parts, ignore_index=True)
    first = ["column", "slice", "metric"]
    return found[first + [name for name in found if name not in first]]


def _frame(found: dict[str, Interval]) -> pd.DataFrame:
    rows = [(name, one.value, one.low, one.high, one.n) for name, one in found.items()]
    return pd.DataFrame(rows, columns=["metric", "value", "low", "high", "n"])
