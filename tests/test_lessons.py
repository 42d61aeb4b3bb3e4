"""Every lesson: it keeps its contract, runs with its solutions, and runs as a student gets it."""

import json
from functools import lru_cache
from pathlib import Path

import pytest

from mlsys.edition import NOT_OURS, is_solution, is_test, stub_message, student_edition
from mlsys.lint import lint
from mlsys.notebooks.runner import Outcome, make_job, run_jobs
from mlsys.notebooks.worker import ANSI
from mlsys.place import all_lessons

ROOT = Path(__file__).parent.parent
LESSONS = all_lessons(ROOT / "notebooks")
every_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=[path.stem for path in LESSONS])


@lru_cache
def outcomes() -> dict[tuple[Path, bool], Outcome]:
    """One run of all lessons in both editions, two at a time, by lesson and whether a student's.

    What has not changed since it passed is not run.
    """
    plan = [
        make_job(lesson, root=ROOT, parameters={}, profile=None, student=student)
        for student in (False, True)
        for lesson in LESSONS
    ]
    ran = run_jobs(plan, slots=2)
    return {(job.notebook, job.student): outcome for job, outcome in zip(plan, ran, strict=True)}


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
    outcome = outcomes()[lesson, False]
    assert outcome.good, outcome.sentence()


@every_lesson
def test_the_student_edition_runs_to_its_end(lesson):
    outcome = outcomes()[lesson, True]
    assert outcome.good, outcome.sentence()


@every_lesson
def test_each_stub_fails_with_its_own_message_and_nothing_else_fails(lesson):
    outcome = outcomes()[lesson, True]
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
