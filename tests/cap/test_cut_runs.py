"""Runs with cuts in them: steps at known times, their picture, and the letters of PACELC."""

from collections.abc import Callable
from time import perf_counter, sleep
from typing import ClassVar

import pytest

from mlsys.cap.cut_runs import draw, pacelc, watch, write_ms
from mlsys.cap.history import Event, History


def record(*, faults: list[tuple[float, Callable]], started: float, value: int) -> list[dict]:
    """A recording of one write, begun before the first fault and answered between the two."""

    def event(type_: str) -> dict:
        at = 1000 * (perf_counter() - started)
        asked = {"process": 0, "type": type_, "f": "write", "key": "x", "value": value}
        return {"time": at, **asked}

    asked = event("invoke")
    (_, first), (_, second) = faults
    first()
    answered = event("ok")
    second()
    return [asked, answered]


def test_steps_are_timed_by_the_clock_of_the_events_between_which_they_came() -> None:
    done = []
    steps = {"cut": (10, lambda: done.append("cut")), "heal": (20, lambda: done.append("heal"))}
    history, when = watch(record, steps, value=7)
    assert done == ["cut", "heal"]
    (write,) = history.operations()
    assert (write.f, write.argument, write.status) == ("write", 7, "ok")
    asked, answered = (event.time for event in history.events)
    assert asked <= when["cut"][0] <= when["cut"][1] <= answered
    assert answered <= when["heal"][0] <= when["heal"][1]


def test_a_step_that_fails_ends_the_run() -> None:
    with pytest.raises(ZeroDivisionError):
        watch(record, {"cut": (0, lambda: 1 / 0), "heal": (0, lambda: None)}, value=1)


def test_the_time_of_a_write_is_the_median_of_so_many() -> None:
    class Session:
        written: ClassVar = []

        def write(self, key: str, value: int) -> None:
            self.written.append((key, value))
            sleep(0.01 if value < 3 else 0)

    assert write_ms(Session(), count=5) >= 10
    assert Session.written == [("x", value) for value in range(5)]


def test_the_picture_has_a_line_for_each_side_the_cut_and_the_stale_reads() -> None:
    told = [(0, "write", 1, 0, 10), (0, "write", 2, 20, 30), (1, "read", 1, 300, 310)]
    events = []
    for process, f, value, start, end in told:
        sent = value if f == "write" else None
        events.append(Event(start, process, "invoke", f, "x", sent))
        events.append(Event(end, process, "ok", f, "x", value))
    events.append(Event(400, 1, "invoke", "read", "x", None))  # and is never answered
    fig = draw(History(tuple(events)), {"a": [0], "b": [1]}, (100, 200), "Cut", width=250)
    a, b, stale = fig.data
    assert (a.name, b.name, stale.name) == ("a", "b", "1 stale reads")
    assert list(a.x) == [0.125] and list(a.y) == [100]
    assert b.y[1] == 50  # one of the two reads that began in its bin
    assert list(stale.x) == [0.3]
    (cut,) = fig.layout.shapes
    assert (cut.x0, cut.x1) == (0.1, 0.2)


@pytest.mark.parametrize(
    "store, letters",
    [
        ({"store": "async"}, "PA/EL"),
        ({"n": 5, "r": 3, "w": 3}, "PC/EC"),
        ({"store": "raft", "reads": "local"}, "PC/EL"),
    ],
)
def test_the_letters_of_a_store_come_from_what_it_did(store: dict, letters: str) -> None:
    wrote, read, write, said = pacelc(seed=7, **store)
    assert said == letters
    assert (wrote == "0%") == letters.startswith("PC")
    assert (read < 75) == letters.endswith("EL") and write >= 0
