"""Does the model still lean on the same features? Attributions of then and now, and their order.

A model may keep its score distribution while it leans on another column: that shows in the order
of its mean absolute attributions, compared by a normalised discounted ranking. Source: Nigenda et
al., "Amazon SageMaker Model Monitor", KDD 2022, section on feature attribution drift (alert under
0.90 there too).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mlsys.monitoring.errors import MonitoringError

THRESHOLD = 0.90


def shapley(
    predict: Callable[[pd.DataFrame], np.ndarray],
    rows: pd.DataFrame,
    background: pd.DataFrame,
    *,
    permutations: int = 8,
    seed: int = 0,
) -> pd.DataFrame:
    """Sampled Shapley values, one a row and feature, in the unit of `predict`.

    Štrumbelj and Kononenko (2014), algorithm 1: features go from a random background row to the
    row's own values in a random order (each order is walked backwards too, which halves the noise);
    what the prediction gains at a feature is its share. A row's shares sum to its prediction minus
    the mean of its background rows' predictions. Costs 2 · permutations · (features + 1)
    predictions of all rows.
    """
    if list(rows.columns) != list(background.columns):
        raise MonitoringError("Rows and background must have the same columns in the same order.")
    if not len(rows) or not len(background):
        raise MonitoringError("Attributions need at least one row and one background row.")
    rng = np.random.default_rng(seed)
    names, n = list(rows.columns), len(rows)
    own = rows.reset_index(drop=True)
    total = np.zeros((n, len(names)))
    for _ in range(permutations):
        drawn = background.iloc[rng.integers(0, len(background), n)].reset_index(drop=True)
        order = rng.permutation(len(names))
        for way in (order, order[::-1]):
            mixed = drawn.copy()
            before = np.asarray(predict(mixed), dtype=float)
            for place in way:
                mixed[names[place]] = own[names[place]]
                after = np.asarray(predict(mixed), dtype=float)
                total[:, place] += after - before
                before = after
    return pd.DataFrame(total / (2 * permutations), columns=names, index=rows.index)


def importance(attributions: pd.DataFrame) -> pd.Series:
    """Mean absolute attribution of each feature, the largest first."""
    return attributions.abs().mean().sort_values(ascending=False)


def ranking_score(reference: pd.Series, current: pd.Series) -> float:
    """Normalised discounted ranking, 0 to 1: 1 when the current order is the reference's.

    Σ a_i / log₂(i + 1) over the features in their **current** order, with a_i the **reference's**
    importance, divided by the same sum in the reference's own order: a swap at the top costs most.
    Nigenda et al. 2022.
    """
    if set(reference.index) != set(current.index):
        odd = sorted(map(str, set(reference.index) ^ set(current.index)))[0]
        raise MonitoringError(f"Feature {odd!r} is in only one of the two importances.")
    if (reference < 0).any() or (current < 0).any() or not np.isfinite(reference).all():
        raise MonitoringError("Importances are finite numbers of 0 or more (mean absolute values).")
    discount = 1 / np.log2(np.arange(2, len(reference) + 2))
    # Ties in the current order count in the reference's favour: no order was lost.
    both = pd.DataFrame({"current": current, "reference": reference.reindex(current.index)})
    shown = both.sort_values(["current", "reference"], ascending=False)["reference"].to_numpy()
    best = np.sort(reference.to_numpy())[::-1]
    ideal = float(best @ discount)
    return float(shown @ discount) / ideal if ideal else 1.0


@dataclass(frozen=True)
class AttributionDrift:
    """`table`: reference and current importance (shares of their sums) and ranks, by feature."""

    score: float
    drifted: bool
    table: pd.DataFrame
    sentence: str


def attribution_drift(
    reference: pd.Series, current: pd.Series, *, threshold: float = THRESHOLD
) -> AttributionDrift:
    """Compare two importances; drifted when `ranking_score` is under the threshold."""
    score = ranking_score(reference, current)
    table = pd.DataFrame({"reference": reference, "current": current.reindex(reference.index)})
    table = table / table.sum().replace(0, 1)
    for name in ("reference", "current"):
        table[f"{name}_rank"] = table[name].rank(ascending=False, method="first").astype(int)
    table = table.sort_values("reference_rank")
    moved = (table["current"] - table["reference"]).abs().idxmax()
    was, now = table.loc[moved, ["reference", "current"]]
    drifted = score < threshold
    said = "leans on other features" if drifted else "leans on the same features"
    sentence = (
        f"The model {said} (score {score:.2f}, alert under {threshold:.2f}); most moved "
        f"{moved!r}, from {was:.0%} to {now:.0%} of all attribution."
    )
    return AttributionDrift(score, drifted, table, sentence)
