"""Drift that no column shows is seen by a classifier, and clean data are left alone."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from mlsys.monitoring import MonitoringError, judge
from mlsys.monitoring.multivariate import _area, domain_classifier, pca_reconstruction


def correlated(rng, n, r):
    return rng.multivariate_normal(np.zeros(3), [[1, r, r], [r, 1, r], [r, r, 1]], n)


def test_a_correlation_that_breaks_is_seen_though_every_column_stays():
    rng = np.random.default_rng(0)
    a, b = correlated(rng, 1500, 0.8), correlated(rng, 1500, 0.0)
    assert judge(a, b).drifted == ()
    assert domain_classifier(a, b).auc > 0.7
    found = pca_reconstruction(a, b)
    assert found.current > 1.5 * found.reference and found.p_value < 1e-6


def test_clean_samples_are_not_told_apart_more_often_than_the_level():
    rng = np.random.default_rng(1)
    wrong = sum(
        domain_classifier(
            rng.normal(size=(150, 3)), rng.normal(size=(100, 3)), classifier=LogisticRegression
        ).p_value
        < 0.05
        for _ in range(60)
    )
    assert wrong <= 10  # binomial(60, 5 %) exceeds this once in a thousand
    assert pca_reconstruction(correlated(rng, 900, 0.8), correlated(rng, 400, 0.8)).p_value > 0.001


def test_the_area_is_that_of_scikit_learn():
    rng = np.random.default_rng(2)
    high, low = rng.integers(0, 9, 40) + 1.0, rng.integers(0, 9, 30)
    expected = roc_auc_score([1] * 40 + [0] * 30, np.concatenate([high, low]))
    assert _area(high, low)[0] == pytest.approx(expected)


def test_what_cannot_be_compared_is_refused():
    full = np.zeros((30, 2))
    with pytest.raises(MonitoringError, match="2 columns and the current data 3"):
        domain_classifier(full, np.zeros((30, 3)))
    with pytest.raises(MonitoringError, match="at least 20 rows"):
        domain_classifier(full, full[:5])
    with pytest.raises(MonitoringError, match="encode word first"):
        domain_classifier(pd.DataFrame({"word": ["a"] * 30}), full)
    with pytest.raises(MonitoringError, match="finite"):
        pca_reconstruction(full, np.full((30, 2), np.nan))
