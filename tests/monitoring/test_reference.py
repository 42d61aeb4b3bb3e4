"""The reference beside a log: what it may be, and the sentence that it gets when it is not."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from mlsys.monitoring import traffic
from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.reference import beside, read_reference, watched
from mlsys.monitoring.store import Store, Writer
from mlsys.monitoring.watcher import Watcher
from mlsys.monitoring.windows import learn


@pytest.fixture
def log(tmp_path):
    """A service's log of ten days with labels."""
    live = traffic.scene_frame("healthy", per_day=60, days=10)
    told = live.dropna(subset="label_at")[["label_at", "id", "label"]]
    for name, rows in (
        ("predictions", live.drop(columns=["label", "label_at"])),
        ("labels", told.rename(columns={"label_at": "at"})),
    ):
        with Writer(tmp_path / name, durable=False) as writer:
            writer.append(pa.Table.from_pandas(rows, preserve_index=False))
    return Store(tmp_path)


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_the_weeks_of_a_log_that_were_fine_become_its_reference(log, tmp_path, kind):
    assert beside(log) is None
    rows = log.joined(until=traffic.START + pd.Timedelta("6D")).to_pandas()
    path = tmp_path / f"reference.{kind}"
    rows.to_parquet(path) if kind == "parquet" else rows.to_csv(path, index=False)
    reference = read_reference(beside(log))
    assert len(reference) == rows["label"].notna().sum() and len(reference) > 100
    assert watched(reference) == [*traffic.FEATURES, "score"]
    standard = learn(reference, columns=watched(reference))
    assert len(set(standard.usual)) > 1  # the times of its labels were read
    seen = Watcher(log, standard).look()
    assert len(seen.windows) == 10 and not seen.notices


def test_a_model_that_names_no_prediction_says_yes_from_one_half_on(tmp_path):
    path = tmp_path / "reference.csv"
    path.write_text("score,label\n0.5,1\n0.49,1\n,1\n0.9,\n")
    assert read_reference(path)["prediction"].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("label,x\n1,2\n", "no column 'score'"),
        ("score,x\n0.5,2\n", "no column 'label'"),
        ("score,label\nhigh,1\n", "no row with a score and a label"),
        ("", "is empty"),
        ("PAR1nonsense", "not a sound Parquet file"),
    ],
)
def test_a_reference_that_is_none_gets_one_sentence(tmp_path, text, why):
    path = tmp_path / "reference.csv"
    path.write_text(text)
    with pytest.raises(MonitoringError, match=why):
        read_reference(path)


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("label", ["spam"], "log's label must be a number"),
        ("score", ["high"], "log's score must be a number"),
        ("prediction", ["spam"], "log's prediction must be a number"),
    ],
)
def test_words_where_numbers_belong_get_one_sentence(log, tmp_path, name, values, why):
    rng = np.random.default_rng(0)
    reference = pd.DataFrame({"score": rng.random(200), "x": rng.random(200)})
    reference["label"] = reference["prediction"] = (reference["score"] > 0.5).astype(int)
    row = {"at": pa.array([traffic.START]), "id": ["new"], "x": [0.5], name: values}
    with Writer(tmp_path / ("labels" if name == "label" else "predictions")) as writer:
        writer.append(pa.table(row))
    watcher = Watcher(log, learn(reference, columns=["score"]))
    with pytest.raises(MonitoringError, match=why):
        watcher.look()
