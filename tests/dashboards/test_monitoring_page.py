"""The page Model monitoring, without a browser: scenes, the viewer's own files, a live service."""

import io
import shutil
import time

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pytest
from pages import charts, open_page

from dashboards import monitoring_live, monitoring_panels
from mlsys.monitoring import traffic
from mlsys.monitoring.scenes import SCENES
from mlsys.monitoring.store import Writer


def verdict(page) -> str:
    """The page's answer: the one box that begins in bold."""
    assert not page.exception, page.exception[0].message
    boxes = [*page.error, *page.warning, *page.success]
    (box,) = [box.value for box in boxes if box.value.startswith("**")]
    return box.replace("\\", "")


def text(page) -> str:
    return " ".join(said.value for said in page.markdown).replace("\\", "")


def described(page, start: str) -> str:
    return next(alt for alt in charts(page) if alt.startswith(start))


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """Two weeks before and four weeks after, as a viewer might have saved them."""
    made = traffic.traffic("covariate", per_day=120)
    plain = made.live.drop(columns=["label", "label_at", "score", "prediction", "at"])
    parquet = io.BytesIO()
    made.live.to_parquet(parquet)
    return {
        "reference": made.reference.to_csv(index=False).encode(),
        "current": parquet.getvalue(),
        "inputs": plain.to_csv(index=False).encode(),
    }


def upload(page, which: str, name: str, data: bytes):
    return page.file_uploader(key=f"_{which}").set_value((name, data, "text/csv")).run()


SAID = {
    "healthy": "Nothing to do: none of 8 columns drifted, and accuracy holds",
    "seasonal": "The data changed: 3 of 8 columns drifted, and accuracy slipped",
    "covariate": "The data changed, and it hurts: 5 of 8 columns drifted, and accuracy fell",
    "gradual": "The data changed: 3 of 8 columns drifted, and accuracy slipped",
    "label_shift": "The data changed, and it hurts: 2 of 8 columns drifted, and accuracy fell",
    "concept": "No column drifted, and yet accuracy fell from 89.3% to 75.2%: only labels show it.",
    "units": "The data is broken: 100.0% of 'size_kb' lies outside",
    "null_column": "The data is broken: 100.0% of 'sender_age_days' is missing",
    "renamed": "The data is broken: 38.6% of 'client' has values never seen before (1): 'mobile'",
    "adversarial": "The data changed, and it hurts: 3 of 8 columns drifted, and accuracy fell",
}


@pytest.mark.parametrize("scene", list(SCENES))
def test_each_scene_has_its_verdict_and_what_it_rests_on(scene):
    page = open_page("monitoring", scene=scene)
    assert verdict(page).startswith(f"**{SAID[scene]}")
    assert len(charts(page)) == (2 if scene in ("healthy", "concept") else 3)
    assert SCENES[scene].story in text(page)
    assert "this page cannot see" in " ".join(said.value for said in page.header)
    assert "concept drift" in text(page)
    assert page.metric[0].label.startswith("Accuracy, by ")


def test_the_first_view_needs_no_address_and_has_no_complaint():
    page = open_page("monitoring")
    assert page.query_params == {} and "short of" not in verdict(page)
    assert not [box for box in page.warning if not box.value.startswith("**")]


def test_healthy_columns_are_folded_away_and_open_to_a_table_and_a_picture():
    page = open_page("monitoring")
    before = len(charts(page))
    fold = page.expander[-1]
    assert fold.label == "3 healthy columns"
    page.session_state["rest"] = True
    page.run()
    assert len(charts(page)) == before + 1
    assert len(page.dataframe[0].value) == 3
    page.selectbox(key="_into").set_value(2).run()
    assert described(page, "Distribution of recipients")


def test_an_open_column_shows_its_threshold_and_both_counts():
    page = open_page("monitoring")
    alt = described(page, "Distribution of country")
    assert "reference (7,000 values) and now (505 values)" in alt and "threshold is" in alt
    spec = charts(page)[alt]
    assert "reference (n = 7,000)" in spec and "now (n = 505)" in spec and "threshold" in spec


def test_an_earlier_day_shows_only_what_was_knowable_then():
    page = open_page("monitoring", scene="concept", day="16")
    assert verdict(page).startswith("**Nothing to do")
    assert "no alert" in described(page, "Accuracy from")
    page.slider(key="day").set_value(24).run()
    assert "only labels show it" in verdict(page)
    assert "First alert on 21 March, 5 days after the change" in verdict(page)
    assert page.query_params == {"scene": "concept", "day": "24"}


def test_a_weaker_scene_hurts_less():
    full = open_page("monitoring", scene="concept").metric[0].value
    half = open_page("monitoring", scene="concept", strength="50").metric[0].value
    none = open_page("monitoring", scene="concept", strength="0").metric[0].value
    assert float(full[:-1]) < float(half[:-1]) < float(none[:-1])


def test_a_link_reproduces_the_scene():
    there = {"scene": "units", "strength": "40", "day": "20", "seed": "5"}
    page = open_page("monitoring", **there)
    assert page.query_params == there
    assert charts(open_page("monitoring", **there)) == charts(page)


def test_a_hostile_address_gets_sentences_and_the_default_scene():
    page = open_page(
        "monitoring", scene="../../etc/passwd", strength="7", seed="NaN", source="<b>", day=""
    )
    said = next(box.value for box in page.warning if not box.value.startswith("**"))
    assert said.count("is used instead") == 5
    assert verdict(page) == verdict(open_page("monitoring"))


def test_every_chart_is_described_and_has_few_marks():
    page = open_page("monitoring", scene="units")
    for alt, spec in charts(page).items():
        assert len(alt) > 40
        assert spec.count(",") < 12_000


def test_two_files_with_scores_labels_and_times_show_all_that_a_scene_shows(files):
    page = open_page("monitoring", source="files")
    assert "Give two tables" in page.info[0].value
    upload(page, "reference", "before.csv", files["reference"])
    upload(page, "current", "after.parquet", files["current"])
    assert "columns drifted, and accuracy" in verdict(page)
    assert page.metric[0].label == "Accuracy, by 3,360 labels"
    assert described(page, "Distribution of country") and described(page, "Accuracy from")
    assert page.selectbox(key="_role label").value == "label"
    assert page.query_params == {"source": "files"}


def test_files_of_inputs_alone_are_compared_and_what_is_missing_is_said(files):
    page = open_page("monitoring", source="files")
    upload(page, "reference", "before.csv", files["inputs"])
    upload(page, "current", "after.csv", files["inputs"])
    assert verdict(page).startswith("**Nothing drifted: none of 7 columns")
    assert page.metric[0].value == "0 of 7"
    said = text(page)
    for view in ("Accuracy is not shown:", "Accuracy without labels is not", "Performance over"):
        assert view in said
    assert "'id' is not judged: it has a value of its own in every row" in said


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("a.parquet", b"PAR1" + b"x" * 400, "is not a sound Parquet file"),
        ("a.csv", b"\xff\xfe\x00bad,\x00", "zero bytes"),
        ("a.csv", "a,b\n\xe9,1\n".encode("latin-1"), "is not UTF-8"),
        ("a.xlsx", b"PK\x03\x04rest", "ZIP archive or a spreadsheet"),
        ("a.csv", b"a,b\n", "has no rows"),
        ("[x](javascript:1).csv", b"", "is empty"),
    ],
)
def test_a_broken_file_gets_one_sentence_and_the_other_file_is_kept(files, name, data, why):
    page = open_page("monitoring", source="files")
    upload(page, "reference", "before.csv", files["inputs"])
    upload(page, "current", name, data)
    (said,) = [box.value.replace("\\", "") for box in page.error]
    assert why in said and not page.exception
    upload(page, "current", "after.csv", files["inputs"])
    assert verdict(page) and not page.error


def test_files_without_a_column_in_common_get_a_sentence(files):
    page = open_page("monitoring", source="files")
    upload(page, "reference", "before.csv", b"a,b\n1.5,2\n2.5,2\n2.5,2\n")
    upload(page, "current", "after.csv", b"c,d\n1,2\n2,2\n")
    assert "No column can be judged" in page.error[0].value and not page.exception


def test_names_that_mean_something_to_a_browser_are_text():
    hostile = "<img src=x onerror=alert(1)>[a](javascript:1)**:red[b]"
    rows = "".join(f"{n % 7 / 3}\n" for n in range(200))
    page = open_page("monitoring", source="files")
    upload(page, "reference", "a.csv", f'"{hostile}"\n{rows}'.encode())
    upload(page, "current", "b.csv", f'"{hostile}"\n{rows.replace("0.", "5.")}'.encode())
    assert verdict(page)
    assert page.expander[0].label.startswith("`<img src=x onerror=alert(1)>[a](javascri…` drifted")
    for spec in charts(page).values():
        assert "<img" not in spec and "&lt;img" in spec


def test_a_live_service_is_started_watched_and_stopped_with_nothing_left(monkeypatch):
    # After two days of mail the traffic waits until it is stopped, however slow the page is.
    monkeypatch.setattr(monitoring_live, "BATCH", 1_000)
    monkeypatch.setattr(monitoring_live, "PAUSE", 3_600.0)
    page = open_page("monitoring", source="live", scene="units")
    assert "Nothing runs yet" in page.info[0].value
    run = monitoring_panels.live_run()
    try:
        page.button(key="_run").click().run()
        deadline = time.monotonic() + 180
        while run.look().alive and not run.state.predictions:
            assert time.monotonic() < deadline, "no mail was answered"
            time.sleep(0.1)
        page.run()
        pid = run.state.pid
        assert verdict(page) and psutil.pid_exists(pid)
        assert f"Process {pid} answers at" in text(page)
        page.button(key="_run").click().run()
        assert not psutil.pid_exists(pid)
        assert "the process is gone, its log is still here" in text(page)
        assert verdict(page)
    finally:
        folder = run.folder
        run.close()
    assert not folder.exists()


def test_the_log_that_the_environment_names_is_opened(tmp_path, monkeypatch):
    live = traffic.scene_frame("null_column", per_day=60, days=20)
    with Writer(tmp_path / "predictions", durable=False) as log:
        rows = live.drop(columns=["label", "label_at"])
        log.append(pa.Table.from_pandas(rows, preserve_index=False))
    monkeypatch.setenv("MONITORED_STORE", str(tmp_path))
    page = open_page("monitoring", source="live")
    assert "100.0% of 'sender_age_days' is missing" in verdict(page)
    assert page.metric[0].label == "Accuracy, estimated"


def logged(folder, live):
    """Predictions and labels in a log, as a service leaves them."""
    told = live.dropna(subset="label_at")[["label_at", "id", "label"]]
    rows = {
        "predictions": live.drop(columns=["label", "label_at"]),
        "labels": told.rename(columns={"label_at": "at"}),
    }
    for name, some in rows.items():
        with Writer(folder / name, durable=False) as log:
            log.append(pa.Table.from_pandas(some, preserve_index=False))


def test_a_log_that_was_replaced_is_seen_at_the_next_look(tmp_path, monkeypatch):
    monkeypatch.setenv("MONITORED_STORE", str(tmp_path / "store"))
    logged(tmp_path / "store", traffic.scene_frame("null_column", per_day=60, days=20))
    page = open_page("monitoring", source="live")
    assert "100.0% of 'sender_age_days' is missing" in verdict(page)
    shutil.rmtree(tmp_path / "store")
    page.run()
    assert not page.exception
    logged(tmp_path / "store", traffic.scene_frame("healthy", per_day=60, days=20))
    page.run()
    assert verdict(page).startswith("**Nothing to do")


def test_a_log_of_another_service_is_held_against_the_reference_beside_it(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)

    def rows(start, days, price):
        n = 100 * days
        at = pd.Timestamp(start, tz="UTC") + pd.to_timedelta(np.sort(rng.random(n)) * days, "D")
        at = at.floor("us")
        made = pd.DataFrame({"id": [f"{start}-{i}" for i in range(n)], "at": at})
        made["price"] = rng.lognormal(price, 0.5, n)
        made["shop"] = rng.choice(["north", "south"], n)
        made["score"] = rng.beta(1, 1, n)
        made["label"] = (rng.random(n) < made["score"]).astype(int)
        return made.assign(label_at=at + pd.Timedelta("6h"))

    logged(tmp_path, rows("2026-05-04", 6, price=3.0))
    rows("2026-04-01", 20, price=2.0).to_csv(tmp_path / "reference.csv", index=False)
    monkeypatch.setenv("MONITORED_STORE", str(tmp_path))
    page = open_page("monitoring", source="live")
    assert "1 of 3 columns drifted" in verdict(page)
    assert described(page, "Distribution of price")
    (tmp_path / "reference.csv").write_text("score,price\n0.5,3\n")
    page.run()
    assert "reference.csv has no column 'label'" in page.info[0].value.replace("\\", "")
