"""The data sets: what they promise in their cards, and what is said when they cannot be had."""

import http.server
import threading
import zipfile
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from mlsys import data


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MLSYS_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def mirror(tmp_path):
    """A real HTTP server on this machine that hands out an archive made for the test."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    with zipfile.ZipFile(folder / "sms.zip", "w") as archive:
        archive.writestr("SMSSpamCollection", "ham\thello\nspam\twin a prize\n")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/sms.zip"
        server.shutdown()


@pytest.mark.parametrize("name", data.names())
def test_every_set_has_a_card_that_names_its_licence_its_faults_and_a_citation(name):
    card = data.card(name)
    for promise in ("Licence", "Size", "Known faults", "**Cite.**"):
        assert promise in card


def test_digits_are_five_hundred_images_of_each_digit():
    frame = data.load("digits")
    assert frame.label.value_counts().to_dict() == dict.fromkeys(range(10), 500)
    pixels = data.images(frame)
    assert pixels.shape == (5000, 28, 28)
    assert pixels.min() == 0 and pixels.max() == 255
    # A one has less ink than an eight: the labels belong to the images.
    ink = frame.drop(columns="label").sum(axis=1).groupby(frame.label).mean()
    assert ink[1] < ink[8]


def test_faces_are_a_hundred_of_each_kind():
    frame = data.load("faces")
    assert frame.label.value_counts().to_dict() == {"face": 100, "other": 100}
    assert data.images(frame).shape == (200, 25, 25)


def test_the_real_messages_are_what_their_card_says(request):
    if not (data.cache_folder() / "sms_spam" / "SMSSpamCollection").exists():
        request.applymarker(pytest.mark.xfail(raises=data.DataError, reason="offline, not cached"))
    frame = data.load("sms_spam")
    assert frame.label.value_counts().to_dict() == {"ham": 4827, "spam": 747}
    assert frame.duplicated().sum() == 403
    assert not frame.attrs["synthetic"]


def test_a_set_is_fetched_once_checked_and_kept(empty_cache, mirror):
    content = b"ham\thello\nspam\twin a prize\n"
    known = data.hashlib.sha256(content).hexdigest()
    wanted = replace(data.recipe("sms_spam"), url=mirror, sha256=known)
    path = data.locate(wanted)
    assert path.read_bytes() == content
    unreachable = replace(wanted, url="http://127.0.0.1:9/gone.zip")
    assert data.locate(unreachable) == path, "the second time nothing is fetched"
    assert [p.name for p in path.parent.iterdir()] == ["SMSSpamCollection"]


def test_a_file_with_another_sum_is_refused_and_not_kept(empty_cache, mirror):
    with pytest.raises(data.DataError, match="sha256 differs"):
        data.locate(replace(data.recipe("sms_spam"), url=mirror))
    assert list((empty_cache / "sms_spam").iterdir()) == []


def test_without_a_network_one_sentence_says_what_to_do(empty_cache):
    wanted = replace(data.recipe("sms_spam"), url="http://127.0.0.1:9/gone.zip")
    with pytest.raises(data.DataError) as refused:
        data.locate(wanted)
    assert "connect to the internet once, or put SMSSpamCollection" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(data.DataError, match="digits, faces, sms_spam"):
        data.load("mnist")


def test_the_stand_in_says_that_it_is_synthetic(empty_cache, monkeypatch):
    gone = replace(data.recipe("sms_spam"), url="http://127.0.0.1:9/gone.zip")
    monkeypatch.setattr(data, "recipe", lambda name: gone)
    frame = data.load("sms_spam", stand_in=True)
    assert frame.attrs["synthetic"]
    assert data.title(frame, "Spam by length").endswith("(synthetic data)")
    assert "synthetic" in data.card("sms_spam")
    assert 0.05 < np.mean(frame.label == "spam") < 0.25
    with pytest.raises(data.DataError):
        data.load("sms_spam")
