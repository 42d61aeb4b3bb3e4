"""A log looked at while it grows: every look says what one look at all of it would say."""

import os
import shutil
from contextlib import ExitStack
from datetime import timedelta

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlsys.monitoring import labels, traffic, watch
from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.store import Store, Writer
from mlsys.monitoring.watcher import Watcher
from mlsys.monitoring.windows import learn

DAYS = 9


@pytest.fixture(scope="module")
def mail():
    """Nine days whose size in kB becomes bytes on the fifth, with none on the seventh."""
    scene = traffic.SCENES["units"]
    made = traffic.traffic(scene, per_day=60, days=28)
    live = made.live[made.live["at"] >= made.change_at - pd.Timedelta("4D")]
    live = live[live["at"] < made.change_at + pd.Timedelta("5D")]
    gap = made.change_at + pd.Timedelta("2D")
    live = live[(live["at"] < gap) | (live["at"] >= gap + pd.Timedelta("1D"))]
    return made.reference, live.reset_index(drop=True)


class Service:
    """A log of predictions and one of labels, written as a service writes them."""

    def __init__(self, folder, *, segment_bytes=20_000):
        self.store, self._stack = Store(folder), ExitStack()
        self.logs = {
            name: self._stack.enter_context(
                Writer(folder / name, durable=False, segment_bytes=segment_bytes)
            )
            for name in ("predictions", "labels")
        }

    def predict(self, rows):
        self.append("predictions", rows.drop(columns=["label", "label_at"]))

    def label(self, rows):
        told = rows.dropna(subset=["label_at"])[["label_at", "id", "label"]]
        self.append("labels", told.rename(columns={"label_at": "at"}))

    def append(self, name, rows):
        if len(rows):
            self.logs[name].append(pa.Table.from_pandas(rows, preserve_index=False))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stack.close()


def same(seen, wanted):
    pd.testing.assert_frame_equal(seen.windows, wanted.windows, check_exact=True)
    pd.testing.assert_frame_equal(seen.arrived, wanted.arrived, check_exact=True)
    assert [one.to_json() for one in seen.reports] == [one.to_json() for one in wanted.reports]
    assert seen.findings == wanted.findings and seen.notices == wanted.notices


def all_of(store, reference, *, before=None):
    rows = store.joined().to_pandas()
    return watch.watch(reference, rows if before is None else rows[rows["at"] < before])


ACTS = ("predict", "predict", "label", "look", "look before", "compact", "stray label")


@settings(max_examples=150 if os.environ.get("MLSYS_EXHAUSTIVE") else 12, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(st.data())
def test_a_look_at_any_instant_says_what_a_look_at_all_rows_would(mail, tmp_path_factory, data):
    reference, live = mail
    waiting, sent = live.sample(frac=1, random_state=0).index.tolist(), 0
    with Service(tmp_path_factory.mktemp("log")) as service:
        watcher = Watcher(service.store, learn(reference))
        for act in data.draw(st.lists(st.sampled_from(ACTS), min_size=3, max_size=12)):
            if act == "predict" and sent < len(live):
                size = data.draw(st.integers(1, 200))
                service.predict(live[sent : sent + size])
                sent += size
            elif act == "label":  # in any order, some before their prediction is logged
                size = data.draw(st.integers(1, 150))
                some, waiting = waiting[:size], waiting[size:]
                service.label(live.loc[some])
            elif act == "stray label":  # a correction, or of nobody's prediction
                row = live.iloc[[data.draw(st.integers(0, len(live) - 1))]]
                later = row["label_at"] + pd.Timedelta(hours=data.draw(st.integers(1, 80)))
                service.label(row.assign(label=1 - row["label"], label_at=later))
                service.label(row.assign(id="nobody"))
            elif act == "compact":
                for log in service.logs.values():
                    log.compact()
            elif act == "look before" and sent:
                before = live["at"].iloc[0] + pd.Timedelta(hours=data.draw(st.integers(1, 240)))
                same(watcher.look(before=before), all_of(service.store, reference, before=before))
            elif sent:
                same(watcher.look(), all_of(service.store, reference))
        if sent:
            same(watcher.look(), all_of(service.store, reference))


def test_a_row_that_comes_days_late_is_judged_in_its_window(mail, tmp_path):
    reference, live = mail
    late = live["at"].dt.day == live["at"].iloc[0].day
    late &= live.index % 3 == 0
    with Service(tmp_path) as service:
        watcher = Watcher(service.store, learn(reference))
        service.predict(live[~late])
        service.label(live)
        before = watcher.look()
        service.predict(live[late])
        same(watcher.look(), all_of(service.store, reference))
        assert watcher.look().windows["rows"][0] > before.windows["rows"][0]


def test_the_windows_count_labels_as_a_reader_of_all_rows_does(mail, tmp_path):
    reference, live = mail
    with Service(tmp_path) as service:
        service.predict(live)
        service.label(live)
        seen = Watcher(service.store, learn(reference)).look()
        rows = service.store.joined().to_pandas()
    for one in seen.windows.itertuples():
        recent = rows[(rows["at"] < one.at) & (rows["at"] >= one.at - 7 * labels.DAY)]
        known = labels.known_at(recent, one.at)
        assert one.labelled == len(known)
        right = (known["label"] == known["prediction"]).mean()
        assert (one.known == right) or not len(known)
    arrived = labels.as_known(rows, seen.windows["at"].iloc[-1])
    pd.testing.assert_frame_equal(seen.arrived, arrived, check_dtype=False)


def test_a_log_in_anothers_place_is_read_from_its_beginning(mail, tmp_path):
    reference, live = mail
    for _ in range(2):
        with Service(tmp_path / "log") as service:
            if not _:
                watcher = Watcher(service.store, learn(reference))
            rows = live if not _ else live[live.index % 2 == 0]
            service.predict(rows)
            service.label(rows)
            same(watcher.look(), all_of(service.store, reference))
            assert watcher.rows == len(rows)
        shutil.rmtree(tmp_path / "log")
    with pytest.raises(MonitoringError, match="no predictions yet"):
        watcher.look()


def test_days_that_retention_took_are_gone_from_the_windows(mail, tmp_path):
    reference, live = mail
    with Service(tmp_path, segment_bytes=2_000) as service:
        watcher = Watcher(service.store, learn(reference))
        service.predict(live)
        service.label(live)
        first = watcher.look().windows["at"].iloc[0]
        assert service.logs["predictions"].forget(first.date() + timedelta(days=1)) > 0
        seen = watcher.look()
        same(seen, all_of(service.store, reference))
        assert seen.windows["at"].iloc[0] > first


def test_a_label_for_a_forgotten_prediction_changes_nothing_and_is_told(mail, tmp_path):
    reference, live = mail
    with Service(tmp_path) as service:
        watcher = Watcher(service.store, learn(reference), remembered=100)
        service.predict(live)
        watcher.look()
        service.label(live)
        seen = watcher.look()
        assert watcher.forgotten == len(live) - 100
        told = int(live["label_at"].tail(100).notna().sum())
        assert seen.windows["truth"].notna().sum() <= 3 and told > 0


def test_a_log_without_a_column_gets_a_sentence_and_is_read_when_it_has_one(mail, tmp_path):
    reference, live = mail
    with Service(tmp_path) as service:
        watcher = Watcher(service.store, learn(reference))
        service.predict(live.head(20).drop(columns="links"))
        with pytest.raises(MonitoringError, match="no column 'links'"):
            watcher.look()
        service.predict(live[20:])
        assert watcher.look().windows["rows"].sum() == len(live)


def test_labels_of_nobody_get_a_sentence(mail, tmp_path):
    reference, live = mail
    with Service(tmp_path) as service:
        service.predict(live)
        told = live.dropna(subset=["label_at"])[["label_at", "label"]]
        service.append("labels", told.rename(columns={"label_at": "at"}))
        with pytest.raises(MonitoringError, match="log of labels has no column 'id'"):
            Watcher(service.store, learn(reference)).look()


def test_a_label_older_than_its_prediction_gets_a_sentence_at_each_look(mail, tmp_path):
    reference, live = mail
    with Service(tmp_path) as service:
        watcher = Watcher(service.store, learn(reference))
        service.predict(live)
        service.label(live.head(5).assign(label_at=live["at"].iloc[0] - pd.Timedelta("1h")))
        for _ in range(2):
            with pytest.raises(MonitoringError, match="is older than its prediction"):
                watcher.look()
