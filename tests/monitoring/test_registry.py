"""Versions are promoted and rolled back under a service that runs, and a broken one is not used."""

import json
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import httpx
import numpy as np
import pandas as pd
import pytest

from mlsys import services
from mlsys.monitoring import registry, traffic
from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.registry import Registry, promote
from mlsys.monitoring.retraining import stateless
from mlsys.monitoring.store import Store

APP = "mlsys.monitoring.service:app"
MAILS = traffic.scene_frame("concept", per_day=50, days=28)


@pytest.fixture(scope="module")
def layers():
    """The model as it is built in, and one trained on the newest week."""
    newer, _ = stateless(days=7)(None, MAILS, MAILS["at"].max())
    return traffic.model()[-1], newer


def mails(first, n=3):
    rows = MAILS.iloc[np.arange(first, first + n) % len(MAILS)][list(traffic.FEATURES)]
    rows = rows.astype(object).where(rows.notna(), None).to_dict("records")
    return [{"id": f"{first}-{n}", **row} for n, row in enumerate(rows)]


def test_a_promotion_under_load_loses_and_mixes_nothing(tmp_path, layers):
    versions, promoted = dict(zip(("v1", "v2"), layers, strict=True)), Event()
    for folder in ("log", "models"):
        (tmp_path / folder).mkdir()
    promote(tmp_path / "models", "v1", versions["v1"], "the first")
    env = {"MONITORED_STORE": str(tmp_path / "log"), "MONITORED_REGISTRY": str(tmp_path / "models")}
    with services.web_app(APP, env=env) as server:

        def client(number):
            """What each request was told, and whether the promotion was over when it began."""
            seen, after = [], 0
            with httpx.Client(base_url=server.url, timeout=60) as http:
                while after < 10:
                    over = promoted.is_set()
                    after += over
                    sent = mails(10_000 * number + len(seen))
                    answer = http.post("/predict", json={"rows": sent}).raise_for_status().json()
                    seen.append((over, answer["version"], answer["scores"], sent))
            return seen

        with ThreadPoolExecutor(4) as pool:
            clients = [pool.submit(client, number) for number in range(4)]
            while Store(tmp_path / "log").predictions.read().num_rows < 60:
                assert not any(one.done() for one in clients)
            promote(tmp_path / "models", "v2", versions["v2"], "better")
            promoted.set()
            seen = [one.result(60) for one in clients]
        about = httpx.get(server.url + "/health", timeout=60).json()
        metrics = httpx.get(server.url + "/metrics", timeout=60).text
        (tmp_path / "models" / "champion").write_text("v3")
        broken = httpx.get(server.url + "/health", timeout=60).json()
        logged = Store(tmp_path / "log").predictions.read().to_pandas()
    assert about["version"] == "v2" and "problem" not in about
    assert broken["version"] == "v2" and "v3 cannot be read" in broken["problem"]
    assert 'mlsys_service_model{version="v2"} 1' in metrics
    for answers in seen:
        said = [version for _, version, _, _ in answers]
        assert said == sorted(said) and said[0] == "v1"
        assert {version for over, version, _, _ in answers if over} == {"v2"}
        for _, version, scores, sent in answers:
            inputs = traffic.encoded(pd.DataFrame(sent))
            assert np.allclose(versions[version].predict_proba(inputs)[:, 1], scores)
    assert len(logged) == sum(3 * len(answers) for answers in seen)
    every = [(row["id"], one[1]) for answers in seen for one in answers for row in one[3]]
    assert dict(zip(logged["id"], logged["version"], strict=True)) == dict(every)


def test_a_version_that_cannot_be_read_leaves_the_last_good_one(tmp_path, layers):
    promote(tmp_path, "v1", layers[0], "the first")
    served = Registry(tmp_path, len(layers[0].coef_[0]))
    (tmp_path / "v2.json").write_text('{"weights": [1, 2')
    (tmp_path / "champion").write_text("v2")
    assert served.champion().name == "v1"
    assert "v2 cannot be read" in served.problem
    promote(tmp_path, "v2", layers[1], "mended")
    assert (served.champion().name, served.champion().why, served.problem) == ("v2", "mended", "")
    (tmp_path / "champion").unlink()
    assert served.champion().name == "v2" and "no file 'champion'" in served.problem
    promote(tmp_path, "v1", layers[0], "back again")
    assert (served.champion().name, served.problem) == ("v1", "")


def test_a_registry_without_a_champion_is_a_sentence(tmp_path):
    with pytest.raises(MonitoringError, match="no file 'champion' that names a version"):
        Registry(tmp_path, 3)


@pytest.mark.parametrize("name", ["../v1", "", "a/b", "-x", "v" * 65, "v1\n"])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path, layers, name):
    with pytest.raises(MonitoringError, match="no version's name"):
        promote(tmp_path, name, layers[0], "evil")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"weights": [1.0]},
        {"weights": [[1.0]] * 3},
        {"weights": [1.0, 2.0, float("nan")]},
        {"intercept": float("inf")},
        {"intercept": "x"},
        {"weights": None},
    ],
)
def test_a_record_that_is_no_model_is_refused(tmp_path, change):
    record = {"weights": [1.0, 2.0, 3.0], "intercept": 0.5, "why": "a test"}
    (tmp_path / "v1.json").write_text(json.dumps(record))
    assert registry.read(tmp_path, "v1", 3).scores(np.zeros((1, 3))) == pytest.approx(0.622459)
    (tmp_path / "v1.json").write_text(json.dumps(record | change))
    with pytest.raises(MonitoringError, match="Version v1"):
        registry.read(tmp_path, "v1", 3)
