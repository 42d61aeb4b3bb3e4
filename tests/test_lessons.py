"""Every lesson: it keeps its contract, runs with its solutions, and runs as a student gets it.

Lessons use real clocks and real servers, and here they run two at a time on a machine that tests
keep busy. One that failed, leaked or was too slow is run once more with no lesson beside it. If it
passes then, its test passes with the warning `FailedOnce`, which pytest counts in its summary: the
lesson has a race or a limit that is too tight, and wants to be mended. If it fails again, it fails.
`mlsys run` never tries twice.
"""

import json
import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from test_notebooks import STRAY, workbook

from mlsys.edition import NOT_OURS, is_solution, is_test, stub_message, student_edition
from mlsys.lint import lint
from mlsys.notebooks.runner import Job, Outcome, make_job, run_jobs
from mlsys.notebooks.worker import ANSI
from mlsys.place import all_lessons

ROOT = Path(__file__).parent.parent
LESSONS = all_lessons(ROOT / "notebooks")
every_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=[path.stem for path in LESSONS])


class FailedOnce(UserWarning):
    """A lesson failed beside another one and passed alone."""


Fared = tuple[Outcome, Outcome | None]
"""How a lesson fared, and how it had failed before if that was its second try."""


@lru_cache
def outcomes() -> dict[tuple[Path, bool], Fared]:
    """One run of all lessons in both editions, by lesson and whether a student's.

    What has not changed since it passed is not run.
    """
    plan = [
        make_job(lesson, root=ROOT, parameters={}, profile=None, student=student)
        for student in (False, True)
        for lesson in LESSONS
    ]
    fared = run_twice_at_most(plan)
    return {(job.notebook, job.student): one for job, one in zip(plan, fared, strict=True)}


def run_twice_at_most(plan: Sequence[Job], **options: Any) -> list[Fared]:
    """Run jobs two at a time, then one by one those that failed."""
    beside = run_jobs(plan, slots=2, **options)
    failed = [number for number, outcome in enumerate(beside) if not outcome.good]
    again = run_jobs([plan[number] for number in failed], slots=1, **options)
    alone = dict(zip(failed, again, strict=True))
    return [
        (alone[number], outcome) if number in alone else (outcome, None)
        for number, outcome in enumerate(beside)
    ]


def expect_pass(fared: Fared) -> None:
    outcome, before = fared
    if before is None:
        assert outcome.good, outcome.sentence()
        return
    assert outcome.good, f"alone: {outcome.sentence()}; before: {before.sentence()}"
    warnings.warn(before.sentence(), FailedOnce, stacklevel=2)


@lru_cache
def source(lesson):
    content = json.loads(lesson.read_text(encoding="utf-8"))
    return [{**cell, "source": "".join(cell["source"])} for cell in content["cells"]]


@lru_cache
def edition(lesson):
    content = json.loads(lesson.read_text(encoding="utf-8"))
    return student_edition(content, name=lesson.stem)


def test_there_are_lessons():
    assert LESSONS


@every_lesson
def test_a_lesson_keeps_its_contract(lesson):
    assert [str(finding) for finding in lint(lesson)] == []


@every_lesson
def test_a_lesson_passes_with_its_solutions_and_leaves_no_process(lesson):
    expect_pass(outcomes()[lesson, False])


@every_lesson
def test_the_student_edition_runs_to_its_end(lesson):
    expect_pass(outcomes()[lesson, True])


@every_lesson
def test_each_stub_fails_with_its_own_message_and_nothing_else_fails(lesson):
    outcome, _ = outcomes()[lesson, True]
    executed = json.loads(outcome.executed.read_text(encoding="utf-8"))["cells"]
    meant = {
        cell["id"]
        for cell in source(lesson)
        if "raises-exception" in cell["metadata"].get("tags", [])
    }
    said = {}
    for cell in executed:
        errors = [out for out in cell.get("outputs", []) if out["output_type"] == "error"]
        if errors and cell["id"] not in meant:
            said[cell["id"]] = ANSI.sub("", errors[0]["evalue"])
            assert is_test(cell) or is_solution(cell), f"{cell['id']}: {errors[0]['ename']}"
    for cell in source(lesson):
        if cell["cell_type"] == "code" and is_solution(cell):
            message = stub_message(cell["metadata"]["nbgrader"]["grade_id"])
            assert message in said.values(), f"no test calls the stub: {message}"


@every_lesson
def test_no_solution_and_no_hidden_test_is_left_in_the_student_edition(lesson):
    handed_out = "\n".join(cell.source for cell in edition(lesson).cells)
    assert not NOT_OURS.search(handed_out)
    lines = {line.strip() for line in handed_out.splitlines()}
    secret = [line for cell in source(lesson) for line in secret_lines(cell["source"])]
    public = {line.strip() for cell in source(lesson) for line in public_lines(cell["source"])}
    for line in secret:
        assert line.strip() in public or line.strip() not in lines, line


def secret_lines(text):
    """Lines between nbgrader's marks."""
    return [line for line, secret in marked_lines(text) if secret]


def public_lines(text):
    """Lines that the student gets too, even if a secret one says the same."""
    return [line for line, secret in marked_lines(text) if not secret]


def marked_lines(text):
    inside = False
    for line in text.splitlines():
        if line.strip().startswith(("### BEGIN", "### END")):
            inside = line.strip().startswith("### BEGIN")
        elif line.strip():
            yield line, inside


@every_lesson
def test_the_ids_of_the_student_edition_are_the_lessons(lesson):
    assert [c.id for c in edition(lesson).cells] == [c["id"] for c in source(lesson)]


# How that safety net behaves.

FIRST_TIME = """# %%
import subprocess, sys, time
from pathlib import Path
tried = Path("{name}")
first_time = not tried.exists()
tried.touch()

# %% id="the-cell"
"""
CHANCES = {
    "00_always": 'assert False, "whenever it runs"',
    "01_fails": 'assert not first_time, "it was the first time"',
    "02_leaks": f"if first_time:\n    subprocess.Popen([sys.executable, '-c', '{STRAY}'],\n"
    "                     start_new_session=True)",
    "03_hangs": "while first_time:\n    time.sleep(1)",
    "04_passes": "assert True",
}


@pytest.fixture(scope="module")
def chances(tmp_path_factory):
    """How notebooks fared that pass the second time only, one that never does and one that does;
    and when each began and ended.
    """
    root = tmp_path_factory.mktemp("chances")
    texts = {name: FIRST_TIME.format(name=name) + last for name, last in CHANCES.items()}
    plan = [
        make_job(lesson, root=root, parameters={}, profile=None, student=False)
        for lesson in workbook(root, texts)
    ]
    events = []
    fared = run_twice_at_most(
        plan,
        timeout=20,
        on_event=lambda lesson, what, _: events.append((lesson.stem, what)),
    )
    return dict(zip(CHANCES, fared, strict=True)), [e for e in events if e[1] != "cell"]


@pytest.mark.parametrize(
    "name, verdict, said",
    [
        ("01_fails", "failed", "AssertionError: it was the first time"),
        ("02_leaks", "leaked", "left 1 running"),
        ("03_hangs", "timed out", "took longer than 20 s"),
    ],
)
def test_a_lesson_that_fails_once_passes_with_a_warning_that_says_how(chances, name, verdict, said):
    outcome, before = chances[0][name]
    assert (outcome.verdict, before.verdict) == ("passed", verdict), outcome.sentence()
    with pytest.warns(FailedOnce, match=f"{name}.*{said}"):
        expect_pass((outcome, before))


def test_a_lesson_that_fails_alone_too_fails_with_both_sentences(chances):
    said = r"alone: 00_always.*whenever it runs; before: 00_always.*whenever it runs"
    with pytest.raises(AssertionError, match=said):
        expect_pass(chances[0]["00_always"])


def test_a_lesson_that_passes_is_run_once_and_says_nothing(chances, recwarn):
    expect_pass(chances[0]["04_passes"])
    assert not recwarn.list
    assert [what for name, what in chances[1] if name == "04_passes"] == ["start", "end"]


def test_a_second_try_has_no_lesson_beside_it(chances):
    second = chances[1][2 * len(CHANCES) :]
    assert [what for _, what in second] == ["start", "end"] * 4
    assert [name for name, _ in second[::2]] == [name for name, _ in second[1::2]]
