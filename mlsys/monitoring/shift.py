"""What kind of change it is: of the inputs, of the labels' shares, or of what the inputs mean.

Inputs X, label Y. Covariate shift: P(X) changes, P(Y | X) stays. Label shift: P(Y) changes,
P(X | Y) stays. Concept drift: P(Y | X) changes. Without labels the last is invisible, and the
first two are told apart only as far as the model's own mistakes allow; `diagnose` says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats
from sklearn.linear_model import LogisticRegression

from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.multivariate import domain_classifier
from mlsys.monitoring.threads import few_threads
from mlsys.monitoring.verdict_report import Report
from mlsys.monitoring.verdicts import Rules, judge

Change = Literal["none seen", "covariate shift", "label shift", "concept drift"]


@dataclass(frozen=True, slots=True)
class LabelShift:
    """What black-box shift estimation says.

    `weights`: P_now(y) / P_before(y) by class, `before` and `now` the classes' shares, `low` and
    `high` a 95 % bootstrap interval of `now`. `condition` is that of the confusion matrix: far
    above 10, the model hardly tells the classes apart and the estimate is worth little.
    """

    classes: tuple[Any, ...]
    weights: np.ndarray
    before: np.ndarray
    now: np.ndarray
    low: np.ndarray
    high: np.ndarray
    condition: float

    @property
    def shifted(self) -> bool:
        """Whether a class's share before lies outside its interval now (Bonferroni is not needed
        for two classes, whose shares are one number)."""
        return bool(((self.before < self.low) | (self.before > self.high)).any())


def estimate_label_shift(
    labels: Any, predicted: Any, predicted_now: Any, *, draws: int = 400, seed: int = 0
) -> LabelShift:
    """The classes' shares in unlabelled data, from a model's hard predictions.

    `labels` and `predicted` of held-out reference rows (not the training rows), `predicted_now` of
    the new ones. Solves C w = mu with C[i, j] = P(predicted i, label j) and mu the new predictions'
    shares (Lipton, Wang and Smola, ICML 2018). It is right when only P(Y) changed, and wrong, with
    no sign of it, when P(X | Y) did.
    Raises MonitoringError when a class is never predicted, or C cannot be inverted.
    """
    y, said, now = (np.asarray(one) for one in (labels, predicted, predicted_now))
    if len(y) != len(said) or not len(y) or not len(now):
        raise MonitoringError("Label shift needs labels, as many predictions, and new predictions.")
    classes, codes = np.unique(np.concatenate([y, said, now]), return_inverse=True)
    size = len(classes)
    y, said, now = np.split(codes, [len(y), 2 * len(y)])
    joint = np.zeros((size, size))
    np.add.at(joint, (said, y), 1 / len(y))
    new = np.bincount(now, minlength=size) / len(now)
    if not (joint.sum(axis=0) > 0).all() or np.linalg.matrix_rank(joint) < size:
        raise MonitoringError(
            "The model's confusion matrix cannot be inverted: every class must occur among the "
            "reference labels and be told from the others."
        )
    weights, shares = _solve(joint, new)
    rng = np.random.default_rng(seed)
    sampled = []
    for _ in range(draws):
        again = rng.multinomial(len(y), joint.ravel()).reshape(size, size) / len(y)
        if np.linalg.matrix_rank(again) == size and (again.sum(axis=0) > 0).all():
            sampled.append(_solve(again, rng.multinomial(len(now), new) / len(now))[1])
    low, high = np.quantile(sampled, [0.025, 0.975], axis=0)
    conditional = joint / joint.sum(axis=0)
    return LabelShift(
        tuple(classes.tolist()), weights, joint.sum(axis=0), shares, low, high,
        float(np.linalg.cond(conditional)),
    )  # fmt: skip


def prediction_drift(scores: Any, scores_now: Any, *, rules: Rules | None = None) -> Report:
    """The verdict on the model's own output: classes or scores, before and now."""
    return judge({"prediction": scores}, {"prediction": scores_now}, rules=rules)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`change`: the kind that the data speak for; `sentence`: why; `cannot_tell`: what these data
    cannot rule out; `evidence`: the p-values behind it by name."""

    change: Change
    sentence: str
    cannot_tell: str
    evidence: dict[str, float]


def diagnose(
    reference: Any,
    current: Any,
    *,
    labels: Any,
    scores: Any,
    scores_now: Any,
    labels_now: Any = None,
    alpha: float = 0.01,
    seed: int = 0,
) -> Diagnosis:
    """Which kind of shift lies between two samples of a binary classifier's rows.

    `reference`, `current`: tables of numbers; `labels` 0 or 1 and `scores` the model's probability
    of 1, of held-out reference rows; `labels_now` where they are known. With labels: whether Y
    given the score changed (a likelihood-ratio test of a shift and a slope in the log-odds),
    whether X given Y did and whether X did (domain classifiers). Without: whether the reference,
    thinned to the classes' shares that `estimate_label_shift` gives, still differs from the
    current rows.
    Raises MonitoringError for other labels, or sides whose lengths differ.
    """
    a, b = np.asarray(reference, dtype=float), np.asarray(current, dtype=float)
    y, p, q = (np.asarray(one, dtype=float) for one in (labels, scores, scores_now))
    z = None if labels_now is None else np.asarray(labels_now, dtype=float)
    if not (len(a) == len(y) == len(p) and len(b) == len(q) and (z is None or len(z) == len(b))):
        raise MonitoringError("Rows, labels and scores of a side must be equally many.")
    for one in (y,) if z is None else (y, z):
        if not np.isin(one, (0, 1)).all() or one.min() == one.max():
            raise MonitoringError("Labels must be 0 and 1, both of them on each side.")
    inputs = domain_classifier(a, b, seed=seed).p_value
    if z is None:
        return _without_labels(a, b, y, p, q, inputs, alpha, seed)
    concept = _concept_p(p, y, q, z)
    shares = _share_p(y, z)
    within = min(1.0, 2 * min(domain_classifier(a[y == c], b[z == c], seed=seed).p_value
                              for c in (0, 1)))  # fmt: skip
    evidence = {"inputs": inputs, "labels given score": concept, "label shares": shares,
                "inputs given label": within}  # fmt: skip
    rest = "Labels that arrive late or for some rows only may differ from those still to come."
    if concept > alpha and inputs > alpha and within > alpha:
        return Diagnosis("none seen", "Neither the inputs nor what they mean changed.", rest,
                         evidence)  # fmt: skip
    if shares <= alpha and within > alpha:
        return Diagnosis(
            "label shift", "The classes' shares changed; rows of a class look as before.", rest,
            evidence,
        )  # fmt: skip
    if concept <= alpha:
        why = "The same score now means another chance of the label"
        why += (
            ", and the inputs changed too." if inputs <= alpha else "; the inputs did not change."
        )
        return Diagnosis("concept drift", why, rest, evidence)
    return Diagnosis(
        "covariate shift", "The inputs changed; what a score means did not.", rest, evidence
    )


def _without_labels(a, b, y, p, q, inputs: float, alpha: float, seed: int) -> Diagnosis:
    blind = "Concept drift: without labels no data can show that the inputs mean something else."
    evidence = {"inputs": inputs}
    if inputs > alpha:
        return Diagnosis("none seen", "The inputs did not change.", blind, evidence)
    shift = estimate_label_shift(y, p >= 0.5, q >= 0.5, seed=seed)
    weights = np.where(y == 1, shift.weights[1], shift.weights[0])
    rng = np.random.default_rng(seed)
    # Rows are kept by chance, not drawn twice: a repeated row would be easy to recognise.
    kept = rng.random(len(y)) < weights / weights.max()
    if kept.sum() >= 100:
        evidence["inputs after redrawing"] = domain_classifier(a[kept], b, seed=seed).p_value
        if shift.shifted and evidence["inputs after redrawing"] > alpha:
            now = shift.now[1]
            return Diagnosis(
                "label shift",
                f"The inputs changed as they would if the share of class 1 were {now:.0%}.",
                f"{blind} A covariate shift that happens to look like this one.", evidence,
            )  # fmt: skip
    return Diagnosis(
        "covariate shift", "The inputs changed, and no change of the classes' shares explains it.",
        f"{blind} A change of the classes' shares beside it.", evidence,
    )  # fmt: skip


def _solve(joint: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights, none below zero, and the shares that they give, which sum to one."""
    weights = np.maximum(np.linalg.solve(joint, new), 0.0)
    shares = weights * joint.sum(axis=0)
    shares = shares / shares.sum()
    return shares / joint.sum(axis=0), shares


def _share_p(y: np.ndarray, z: np.ndarray) -> float:
    """Of equal label shares: Fisher's exact test."""
    table = [[y.sum(), len(y) - y.sum()], [z.sum(), len(z) - z.sum()]]
    return float(stats.fisher_exact(np.array(table, dtype=int)).pvalue)


def _concept_p(p: np.ndarray, y: np.ndarray, q: np.ndarray, z: np.ndarray) -> float:
    """Of the same log-odds line in both samples: likelihood ratio, two degrees of freedom."""
    score = np.concatenate([p, q]).clip(1e-6, 1 - 1e-6)
    odds = np.log(score / (1 - score))
    side = np.repeat([0.0, 1.0], [len(p), len(q)])
    label = np.concatenate([y, z])

    def likelihood(x: np.ndarray) -> float:
        with few_threads(len(label)):
            fitted = LogisticRegression(C=np.inf, max_iter=1000, tol=1e-8).fit(x, label)
        said = fitted.predict_proba(x)[:, 1].clip(1e-12, 1 - 1e-12)
        return float(np.sum(np.where(label == 1, np.log(said), np.log1p(-said))))

    gain = likelihood(np.column_stack([odds, side, odds * side])) - likelihood(odds[:, None])
    return float(stats.chi2.sf(2 * gain, 2)) if math.isfinite(gain) else 1.0
