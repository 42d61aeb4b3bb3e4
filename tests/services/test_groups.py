"""Processes of our own: applications, replicas and workers, each killable by itself."""

import time
from pathlib import Path

import httpx
import pytest
from leftovers import await_gone

from mlsys import services

TINY_APP = """
import asyncio, os

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    await asyncio.sleep(float(os.environ.get("SLOW_S", "0")))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
"""
TINY_WORKER = """
import os, sys, time
print("up", os.environ["WORKER"], sys.argv[1:], os.environ.get("COLOUR"))  # a piece at a time
while True:
    time.sleep(1)
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "tiny_app.py").write_text(TINY_APP)
    (tmp_path / "tiny_worker.py").write_text(TINY_WORKER)
    return tmp_path


@pytest.fixture
def web() -> httpx.Client:
    with httpx.Client(trust_env=False, timeout=60) as client:
        yield client


def test_a_killed_worker_of_a_web_app_is_replaced_and_its_port_goes_on(
    here: Path, web: httpx.Client
) -> None:
    with services.web_app("tiny_app:app", workers=2, cwd=here) as app:
        before = app.pids
        assert len(before) == 2
        assert int(web.get(app.url).text) in before
        killed = app.kill_worker(0)
        end = time.monotonic() + 60
        after = app.pids
        while (len(after) < 2 or killed in after) and time.monotonic() < end:
            time.sleep(0.02)
            after = app.pids
        assert killed not in after and len(after) == 2
        with pytest.raises(services.ServiceError, match="no worker 7 among 2"):
            app.kill_worker(7)
        family = app.process.family()
    await_gone(family)


def test_nginx_balances_replicas_by_weight_and_passes_by_the_dead_one(
    here: Path, web: httpx.Client
) -> None:
    with (
        services.replicas("tiny_app:app", [{}, {}, {}], cwd=here) as replicas,
        services.nginx(replicas, weights=[2, 1, 1]) as front,
    ):
        answers = [web.get(front.url) for _ in range(8)]
        pids = [int(answer.text) for answer in answers]
        assert [pids.count(replica.pid) for replica in replicas] == [4, 2, 2]
        assert answers[0].headers["x-upstream"] in {f"{r.host}:{r.port}" for r in replicas}
        replicas[1].kill()
        survivors = {replicas[0].pid, replicas[2].pid}
        assert {int(web.get(front.url).text) for _ in range(8)} == survivors
        end = time.monotonic() + 20  # nginx writes the line after the answer
        while front.access_log.count("GET /") < 16 and time.monotonic() < end:
            time.sleep(0.01)
        assert front.access_log.count("GET /") == 16
        assert "upstream" in front.log


def test_an_app_that_cannot_be_imported_tells_why(here: Path) -> None:
    with (
        pytest.raises(services.ServiceError, match="nowhere"),
        services.web_app("nowhere:app", cwd=here),
    ):
        pass
    with pytest.raises(services.ServiceError, match="module:name"), services.web_app("shop"):
        pass


def test_workers_know_their_number_and_are_killed_one_by_one(here: Path) -> None:
    env = {"COLOUR": "blue"}
    with services.worker("tiny_worker", "--fast", count=3, ready="up", env=env, cwd=here) as group:
        assert [group.log(i).split()[1] for i in range(3)] == ["0", "1", "2"]
        assert "['--fast'] blue" in group.log(2)
        group.kill(1)
        assert group.alive == (True, False, True)
        assert group.wait(1) != 0
        assert "ended" in group._repr_html_() and str(group.pids[0]) in repr(group)
        with pytest.raises(services.ServiceError, match="no worker 3 among 3"):
            group.kill(3)
        family = [one for member in group.members for one in member.family()]
    await_gone(family)


def test_a_worker_that_ends_before_it_is_ready_tells_its_last_words(here: Path) -> None:
    with (
        pytest.raises(services.ServiceError, match="No module named nowhere"),
        services.worker("nowhere", ready="up", cwd=here),
    ):
        pass
