"""How well a model does before any label comes: estimated from its own scores, or its past errors.

A classifier whose scores are calibrated says itself how often it will be right: that is
confidence-based performance estimation (CBPE). For a regressor a second model learns, from labelled
reference rows, how large the error is at a given input: direct loss estimation (DLE). Both carry
what was learnt about p(label | input) over to new inputs, so both are right when only the inputs
move (covariate shift) and **must** be wrong when p(label | input) itself moves (concept drift): no
number computed without labels can show that. `CANNOT_SEE` says so, for whoever shows an estimate.

Sources: NannyML's documentation, "Confidence-based performance estimation" and "Direct loss
estimation"; Guillory et al., ICCV 2021, for the idea of confidence as an estimate of accuracy.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit, logit

from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.intervals import Interval
from mlsys.monitoring.threads import few_threads

CANNOT_SEE = (
    "An estimate without labels assumes that the same input still means the same label. "
    "If that changed (concept drift), the estimate stays where it was and the truth does not."
)
METRICS = ("accuracy", "precision", "recall", "f1", "roc_auc", "brier")


@dataclass(frozen=True)
class Calibrator:
    """p = sigmoid(a + b·logit(score) + c·logit(score)²), and the covariance of a, b, c.

    Three numbers rather than a staircase: where the current scores lie outside most of the
    reference, a smooth curve still answers. c = 0 is Platt's scaling (1999).
    """

    coefficients: tuple[float, float, float]
    covariance: tuple[tuple[float, float, float], ...]

    def __call__(self, score, *, coefficients=None) -> np.ndarray:
        return expit(_features(score) @ np.asarray(coefficients or self.coefficients))


def _features(score) -> np.ndarray:
    x = logit(np.clip(np.asarray(score, dtype=float), 1e-6, 1 - 1e-6))
    return np.column_stack([np.ones_like(x), x, x * x / 10])


def _scores(score, what: str) -> np.ndarray:
    score = np.asarray(score, dtype=float)
    if score.ndim != 1 or len(score) == 0:
        raise MonitoringError(f"The {what} scores must be a column with at least one row.")
    if not np.isfinite(score).all() or score.min() < 0 or score.max() > 1:
        raise MonitoringError(
            f"The {what} scores must be probabilities from 0 to 1 without gaps; drop missing "
            "rows, and pass raw scores through a sigmoid."
        )
    return score


def calibrate(score, label) -> Calibrator:
    """Fit the curve from a model's scores to the share of positives, on labelled reference rows.

    The rows must not be those the model was trained on: there it is surer than it should be.
    Raises MonitoringError with fewer than 100 rows or one class only.
    """
    score, label = _scores(score, "reference"), np.asarray(label)
    if len(score) != len(label):
        raise MonitoringError(f"{len(score)} reference scores, but {len(label)} labels.")
    if not np.isin(label, (0, 1)).all() or len(label) < 100 or len(np.unique(label)) < 2:
        raise MonitoringError(
            "Calibration needs at least 100 reference rows labelled 0 or 1, with both among them: "
            f"there are {len(label)} rows with the labels {sorted(set(label.tolist()))[:4]}."
        )
    x = _features(score)
    # A weak pull towards "the score is right" (0, 1, 0) keeps a separable reference finite.
    prior, weight = np.array([0.0, 1.0, 0.0]), 0.1

    def loss(w):
        z = x @ w
        value = np.logaddexp(0, z).sum() - label @ z + weight / 2 * ((w - prior) ** 2).sum()
        return value, x.T @ (expit(z) - label) + weight * (w - prior)

    best = minimize(loss, prior, jac=True, method="L-BFGS-B").x
    p = expit(x @ best)
    information = (x * (p * (1 - p))[:, None]).T @ x + weight * np.eye(3)
    covariance = np.linalg.inv(information)
    return Calibrator(tuple(best.tolist()), tuple(map(tuple, covariance.tolist())))


def expected(probability: np.ndarray, threshold: float = 0.5) -> dict[str, float]:
    """The metrics of `METRICS` that a model with true probabilities `probability` should have.

    A row predicted 1 is right with probability p, a row predicted 0 with 1 − p: sums of these are
    the expected confusion matrix. `roc_auc` weighs each pair of rows by p_i (1 − p_j).
    """
    return _expected(probability, probability >= threshold, probability)


def _expected(p: np.ndarray, said: np.ndarray, shown: np.ndarray) -> dict[str, float]:
    hits, positives, calls = p[said].sum(), p.sum(), said.sum()
    right = hits + (1 - p)[~said].sum()
    none = float("nan")
    return {
        "accuracy": float(right / len(p)),
        "precision": float(hits / calls) if calls else none,
        "recall": float(hits / positives) if positives else none,
        "f1": float(2 * hits / (calls + positives)) if calls + positives else none,
        "roc_auc": _expected_auc(p, shown),
        "brier": float(np.mean(p * (1 - shown) ** 2 + (1 - p) * shown**2)),
    }


def _expected_auc(p: np.ndarray, score: np.ndarray) -> float:
    """Expected share of (positive, negative) pairs in the right order, ties half."""
    _, place = np.unique(score, return_inverse=True)
    yes, no = np.bincount(place, weights=p), np.bincount(place, weights=1 - p)
    below = np.cumsum(no) - no
    # A row makes no pair with itself: leave the diagonal p (1 - p) out of ties and of the total.
    own = float((p * (1 - p)).sum())
    ordered = float((yes * (below + no / 2)).sum()) - own / 2
    pairs = float(yes.sum() * no.sum()) - own
    return ordered / pairs if pairs > 0 else float("nan")


def estimate_classifier(
    calibrator: Calibrator,
    score,
    *,
    threshold: float = 0.5,
    confidence: float = 0.95,
    draws: int = 100,
    seed: int = 0,
) -> pd.DataFrame:
    """What a two-class model's metrics should be on rows without labels.

    Columns: metric, value, low, high, n. The interval holds both kinds of chance: which labels the
    rows will draw, and what the reference left unknown about the calibration. It does **not** hold
    concept drift (see `CANNOT_SEE`).
    """
    shown = _scores(score, "current")
    said, p = shown >= threshold, calibrator(shown)
    rng = np.random.default_rng(seed)
    curves = rng.multivariate_normal(calibrator.coefficients, calibrator.covariance, draws)
    simulated = {metric: [] for metric in METRICS}
    x = _features(shown)
    for curve in curves:
        drawn = (rng.random(len(p)) < expit(x @ curve)).astype(float)
        for metric, value in _expected(drawn, said, shown).items():
            simulated[metric].append(value)
    tails = 100 * np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    rows = []
    for metric, value in _expected(p, said, shown).items():
        known = np.asarray(simulated[metric])
        known = known[np.isfinite(known)]
        low, high = np.percentile(known, tails) if len(known) else (np.nan, np.nan)
        rows.append((metric, value, float(low), float(high), len(p)))
    return pd.DataFrame(rows, columns=["metric", "value", "low", "high", "n"])


def estimate_accuracy(calibrator: Calibrator, score, *, threshold: float = 0.5) -> Interval:
    """The accuracy alone, in closed form: for one window of many.

    The standard error joins the labels' own chance, Σ q(1 − q) / n², and the calibration's (delta
    method); the interval is ± 1.96 of it.
    """
    shown = _scores(score, "current")
    said, p = shown >= threshold, calibrator(shown)
    right = np.where(said, p, 1 - p)
    slope = (_features(shown) * (np.where(said, 1, -1) * p * (1 - p))[:, None]).mean(0)
    variance = (right * (1 - right)).sum() / len(p) ** 2
    variance += slope @ np.asarray(calibrator.covariance) @ slope
    half = 1.96 * float(np.sqrt(variance))
    value = float(right.mean())
    return Interval(value, max(0.0, value - half), min(1.0, value + half), len(p))


@dataclass(frozen=True)
class LossModel:
    """A model of a regressor's error at an input, and what it left unexplained on the reference."""

    model: object
    columns: tuple[str, ...]
    squared: bool
    residuals: np.ndarray  # out-of-fold, one a reference row


def learn_loss(
    features: pd.DataFrame, predicted, truth, *, squared: bool = False, seed: int = 0
) -> LossModel:
    """Learn |prediction − label| (or its square) from inputs and prediction, on reference rows.

    Gradient-boosted trees; residuals come from three folds, so that they are not too small. Raises
    MonitoringError with fewer than 100 rows.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.model_selection import KFold, cross_val_predict

    predicted, truth = np.asarray(predicted, dtype=float), np.asarray(truth, dtype=float)
    if not len(features) == len(predicted) == len(truth) or len(truth) < 100:
        raise MonitoringError(
            f"Learning the loss needs 100 or more rows of features ({len(features)}), predictions "
            f"({len(predicted)}) and labels ({len(truth)}), one of each a row."
        )
    loss = (predicted - truth) ** 2 if squared else np.abs(predicted - truth)
    if not np.isfinite(loss).all():
        raise MonitoringError(
            "Some labels or predictions are missing or infinite; drop those rows."
        )
    table = _with_prediction(features, predicted)
    model = HistGradientBoostingRegressor(
        max_iter=60, min_samples_leaf=30, categorical_features="from_dtype", random_state=seed
    )
    folds = KFold(3, shuffle=True, random_state=seed)
    with few_threads(len(table)):
        residuals = loss - cross_val_predict(model, table, loss, cv=folds)
        model.fit(table, loss)
    return LossModel(model, tuple(features.columns), squared, residuals)


def _with_prediction(features: pd.DataFrame, predicted: np.ndarray) -> pd.DataFrame:
    return features.assign(**{"the model's prediction": predicted})


def estimate_regressor(
    loss: LossModel, features: pd.DataFrame, predicted, *, draws: int = 200, seed: int = 0
) -> Interval:
    """The mean absolute (or root mean squared) error expected on rows without labels, in its unit.

    The interval draws the rows' unexplained part from the reference's residuals (bootstrap).
    """
    missing = [name for name in loss.columns if name not in features]
    if missing:
        raise MonitoringError(f"The current rows lack the column {missing[0]!r} of the reference.")
    if not len(features):
        raise MonitoringError("There are no current rows to estimate an error for.")
    table = _with_prediction(features[list(loss.columns)], np.asarray(predicted, dtype=float))
    with few_threads(len(table)):
        guess = np.maximum(loss.model.predict(table), 0)
    rng = np.random.default_rng(seed)
    n, m = len(guess), len(loss.residuals)
    noise = [
        loss.residuals[rng.integers(0, m, n)].mean()  # which labels these rows draw
        + loss.residuals[rng.integers(0, m, m)].mean()  # what the reference left unknown
        for _ in range(draws)
    ]
    centre = float(guess.mean())
    low, high = centre + np.percentile(np.asarray(noise), [2.5, 97.5])
    # sqrt for a squared loss: an error in the label's own unit.
    ends = np.sqrt(np.maximum((centre, low, high), 0)) if loss.squared else (centre, low, high)
    return Interval(float(ends[0]), float(max(ends[1], 0)), float(ends[2]), n)
