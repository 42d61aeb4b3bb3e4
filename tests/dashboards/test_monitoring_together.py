"""Columns of two files that change together while each alone stays as it was."""

import numpy as np
import pandas as pd
import pytest

from dashboards import monitoring_files, monitoring_together
from dashboards.monitoring_seen import Seen


def numbers(rng: np.random.Generator, r: float, rows: int = 1_500) -> pd.DataFrame:
    """Two normal columns with correlation r, a category, and a number with gaps."""
    made = rng.multivariate_normal([0, 0], [[1, r], [r, 1]], rows)
    return pd.DataFrame(made, columns=["a", "b"]).assign(
        word=rng.choice(["x", "y"], rows), gaps=np.where(rng.random(rows) < 0.2, np.nan, 1.0)
    )


def compared(reference: pd.DataFrame, current: pd.DataFrame) -> Seen:
    roles = monitoring_files.guess(reference, current)
    return monitoring_files.of_files(reference, current, roles)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_correlation_that_broke_is_told_though_no_column_drifted(rng):
    seen = compared(numbers(rng, 0.9), numbers(rng, 0.0))
    assert not seen.report.drifted
    said = monitoring_together.together(seen)
    assert said.startswith("Yes: a classifier tells the files apart by them (AUC 0.")
    assert "Linear relations of the numbers broke: " in said


def test_files_of_one_world_are_not_told_apart(rng):
    said = monitoring_together.together(compared(numbers(rng, 0.9), numbers(rng, 0.9)))
    assert said.startswith("No: a classifier cannot tell the files apart")


def test_a_column_that_drifted_by_itself_is_left_out(rng):
    now = numbers(rng, 0.9)
    seen = compared(numbers(rng, 0.9), now.assign(a=now["a"] + 3))
    assert "a" not in monitoring_together.calm(seen) and "b" in monitoring_together.calm(seen)
    assert monitoring_together.together(seen).startswith("No: ")


def test_a_category_that_goes_with_a_number_is_seen_by_the_classifier_alone(rng):
    before, now = numbers(rng, 0.0), numbers(rng, 0.0)
    seen = compared(before, now.assign(word=np.where(now["a"] > 0, "x", "y")))
    assert not seen.report.drifted
    said = monitoring_together.together(seen)
    assert said.startswith("Yes: ") and "still hold: it is something less simple" in said


def test_too_few_rows_are_a_sentence(rng):
    small = compared(numbers(rng, 0.9, 12), numbers(rng, 0.9, 12))
    assert "at least 20 rows" in monitoring_together.together(small)
