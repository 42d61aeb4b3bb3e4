"""Other monitors' definitions: against their own results where those are at hand, always against
a second writing of the definition."""

import importlib.util
import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from mlsys.monitoring import MonitoringError
from mlsys.monitoring.styles import judge_like

BESIDE = Path(__file__).parents[3] / "shared" / "oracles"
ORACLES = Path(os.environ.get("MLSYS_ORACLES", BESIDE)) / "monitoring"


def small(seed: int, shift: float, n: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "normal": rng.normal(shift, 1, n),
            "heavy": rng.lognormal(0, 1 + shift, n),
            "few": rng.poisson(3, n).astype(float),
            "two": np.where(rng.random(n) < 0.3 + shift, "yes", "no"),
            "word": rng.choice([*"abcdefgh"[: 7 + (shift > 0)]], n),
        }
    )


@pytest.fixture(scope="module")
def rows() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The oracles' own rows, or ours where the oracles are not at hand."""
    if not (ORACLES / "make.py").is_file():
        return small(1, 0, 12_000), small(2, 0.1, 11_000)
    spec = importlib.util.spec_from_file_location("oracle_rows", ORACLES / "make.py")
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    return recipe.make(20_000, False, 42), recipe.make(20_000, True, 43)


def stored(pattern: str):
    """A library's own results; None where they are not at hand (then only the second writing of
    its definitions stands against ours)."""
    found = sorted(ORACLES.glob(pattern))
    return json.loads(found[0].read_text()) if found else None


def test_evidently_is_reproduced(rows):
    methods = ["psi", "ks", "wasserstein", "jensenshannon", "chisquare"]
    made = judge_like("evidently", *rows, methods=methods).set_index(["column", "method"])["value"]
    for (name, method), value in made.items():
        assert value == pytest.approx(_evidently(*(f[name] for f in rows), method), abs=1e-9)
    theirs = stored("evidently-*.json")
    if theirs:
        assert len(made) == len(theirs["full"])
        for name, method, value in theirs["full"]:
            assert made[name, method] == pytest.approx(value, abs=1e-9)


def test_evidentlys_own_choice_misses_a_new_category(rows):
    made = judge_like("evidently", *rows).set_index("column")
    theirs = stored("evidently-*.json")
    assert set(made["method"]) <= {"wasserstein", "jensenshannon"}
    if theirs:
        for name, _, value in theirs["default"][1:]:
            assert made.loc[name, "value"] == pytest.approx(value, abs=1e-9)
        assert made["drifted"].sum() == theirs["default"][0][2]["count"]
        assert not made.loc["cat_03", "drifted"]


@pytest.mark.parametrize("chunks", [1, 10])
def test_nannyml_is_reproduced(rows, chunks):
    made = judge_like("nannyml", *rows, chunks=chunks).set_index(["column", "method"])
    reference, current = rows
    first = current.iloc[: len(current) // chunks]
    for (name, method), row in made.iterrows():
        expected = _nannyml(reference[name], first[name], method)
        assert row["value"] == pytest.approx(expected, abs=1e-9)
    theirs = (stored("nannyml-*.json") or {}).get(f"{chunks} chunk{'s' if chunks > 1 else ''}", {})
    for key, (value, threshold, alert) in theirs.items():
        row = made.loc[tuple(key.split("|"))]
        assert row["value"] == pytest.approx(value, abs=1e-9)
        assert row["drifted"] == alert
        if threshold is not None:
            assert row["threshold"] == pytest.approx(threshold, abs=1e-9)


def test_whylogs_is_reproduced_where_it_is_exact(rows):
    made = judge_like("whylogs", *rows).set_index("column")
    theirs = (stored("whylogs-*.json") or {}).get("default", {})
    for name, row in theirs.items():
        # Its sketches of numbers and of many strings err; a column of few values is exact.
        exact = row["algorithm"] == "chi-square" and name != "cat_02"
        close = 1e-9 if exact else 0.25
        assert made.loc[name, "value"] == pytest.approx(row["pvalue"], abs=close)
        assert made.loc[name, "drifted"] == (row["drift_category"] == "DRIFT")
    p_value = made.loc[made["method"] == "chi-square", "value"].iloc[0]
    name = made.index[made["method"] == "chi-square"][0]
    assert p_value == pytest.approx(_evidently(*(f[name] for f in rows), "chisquare"), abs=1e-9)


def test_small_references_take_the_tests_for_small_references():
    a, b = small(3, 0, 400), small(4, 0.2, 500)
    made = judge_like("evidently", a, b).set_index("column")
    assert dict(made["method"]) == {
        "normal": "ks", "heavy": "ks", "few": "ks", "two": "z", "word": "chisquare",
    }  # fmt: skip
    yes = [(f["two"] == "yes").sum() for f in (a, b)]
    table = [yes, [400 - yes[0], 500 - yes[1]]]
    z_squared = stats.chi2_contingency(table, correction=False)  # z^2 is this chi-squared
    assert made.loc["two", "value"] == pytest.approx(z_squared.pvalue, rel=1e-9)
    nannyml = judge_like("nannyml", a, b, chunks=1).set_index(["column", "method"])["value"]
    raw = stats.wasserstein_distance(a["heavy"], b["heavy"])
    assert nannyml["heavy", "wasserstein"] == pytest.approx(raw, abs=1e-12)


def test_an_unknown_style_is_refused_in_a_sentence():
    with pytest.raises(MonitoringError, match="choose one of"):
        judge_like("deepchecks", small(1, 0, 30), small(2, 0, 30))


# --- the definitions, a second time, with other means ---------------------------------------------


def _shares(a, b, edges=None):
    if edges is not None:
        return [np.histogram(v, edges)[0] / len(v) for v in (a, b)]
    found = [Counter(v.astype(str)) for v in (a, b)]
    keys = sorted({*found[0], *found[1]})
    return [np.array([one[key] for key in keys]) / one.total() for one in found]


def _is_number(a):
    return a.dtype.kind == "f"


def _evidently(a, b, method):
    if method == "ks":
        return stats.ks_2samp(a, b).pvalue
    if method == "wasserstein":
        return stats.wasserstein_distance(a, b) / np.std(a.to_numpy())
    edges = None
    if _is_number(a) and len(set(a)) > 20:
        low, high = min(a.min(), b.min()), max(a.max(), b.max())
        bins = int(np.ceil(np.log2(len(a) + len(b)) + 1))
        edges = np.linspace(low, high, bins + 1)
    p, q = _shares(a, b, edges)
    if method == "jensenshannon":
        return jensenshannon(p, q)
    if method == "chisquare":
        with np.errstate(divide="ignore"):
            return stats.chi2.sf(len(b) * np.sum((p - q) ** 2 / p), len(p) - 1)
    for v in (p, q):
        least = min(v[v > 0])
        v[v == 0] = least / 10**6 if least <= 1e-4 else 1e-4
    return sum((x - y) * (np.log(x) - np.log(y)) for x, y in zip(p, q))


def _nannyml(a, b, method):
    if method == "chi2":
        p, q = _shares(a, b)
        return stats.chi2_contingency([p * len(a), q * len(b)]).statistic
    if method == "l_infinity":
        return max(abs(p - q) for p, q in zip(*_shares(a, b)))
    if method in {"jensen_shannon", "hellinger"}:
        edges = np.histogram_bin_edges(a.to_numpy(), bins="doane") if _is_number(a) else None
        p, q = _shares(a, b, edges)
        p, q = np.append(p, 0), np.append(q, max(0, 1 - q.sum()))
        if method == "jensen_shannon":
            return jensenshannon(p, q, base=2)
        return np.linalg.norm(np.sqrt(p) - np.sqrt(q)) / np.sqrt(2)
    edges = np.linspace(a.min(), a.max(), 10_001)
    f, g = (np.searchsorted(np.sort(v), edges[1:-1], side="left") / len(v) for v in (a, b))
    f, g = np.append(f, 1), np.append(g, (b <= a.max()).mean())
    if method == "kolmogorov_smirnov":
        return np.abs(f - g).max()
    if (b < a.min()).any():
        g = g + 1 / len(b)  # its one row too many
    beyond = np.maximum(a.min() - b, 0) + np.maximum(b - a.max(), 0)
    return np.abs(f - g).sum() * (edges[1] - edges[0]) + beyond.mean()
