"""Drift of text: how long messages are, how many of their words are new, and whether a classifier
can tell the new messages from the old."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression

from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.multivariate import Separation, domain_classifier
from mlsys.monitoring.text_measures import measures, vocabulary
from mlsys.monitoring.verdict_report import Report
from mlsys.monitoring.verdicts import Rules, judge


@dataclass(frozen=True, slots=True)
class TextDrift:
    """The verdicts on the texts' measures, and how well a classifier separates old from new."""

    report: Report
    separation: Separation
    drifted: bool

    @property
    def sentence(self) -> str:
        told = f"a classifier tells new from old with AUC {self.separation.auc:.2f}"
        if not self.drifted:
            return f"The texts did not drift: {told}, no better than chance allows."
        return f"The texts drifted: {told}. {self.report.sentence}"


def text_drift(
    reference: Sequence[str],
    current: Sequence[str],
    *,
    rules: Rules | None = None,
    seed: int = 0,
) -> TextDrift:
    """Length, words and out-of-vocabulary share by the rules of `verdicts`, and a domain classifier
    on hashed words (2^16) with logistic regression.

    The vocabulary comes from every second reference text, and the current ones are compared with
    the other half: a vocabulary knows all words of its own texts, so those would always look less
    strange than any new one. Level `rules.alpha` is shared between the two kinds of test.
    Raises MonitoringError for fewer than 40 reference or 20 current texts, or what is not text.
    """
    rules = rules or Rules()
    old, new = list(reference), list(current)
    if len(old) < 40 or len(new) < 20:
        raise MonitoringError(
            f"Text drift needs 40 reference and 20 current texts, not {len(old)} and {len(new)}."
        )
    wrong = next((text for text in [*old, *new] if not isinstance(text, str)), None)
    if wrong is not None or None in old or None in new:
        raise MonitoringError(f"A text must be a string, not {type(wrong).__name__}: drop it.")
    known = vocabulary(old[::2])
    half = Rules(rules.alpha / 2, rules.number, rules.category, rules.spread, rules.missing)
    report = judge(measures(old[1::2], known), measures(new, known), rules=half)
    hashed = HashingVectorizer(n_features=2**16, alternate_sign=False, token_pattern=r"\w+")
    separation = domain_classifier(
        hashed.transform(old),
        hashed.transform(new),
        seed=seed,
        classifier=lambda: LogisticRegression(C=10.0, class_weight="balanced", max_iter=200),
    )
    told_apart = separation.p_value <= half.alpha and separation.auc >= 0.55
    return TextDrift(report, separation, bool(report.drifted) or told_apart)
