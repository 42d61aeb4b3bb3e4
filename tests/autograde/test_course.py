"""The workbook's course through nbgrader's own commands, with the protection that its configuration
switches on: what students get, and what each must score.
"""

import csv
import re

import nbformat
import pytest
from nbgrader.plugins import CsvExportPlugin
from submissions import (
    FUNCTIONS,
    KINDS,
    PA0,
    REPOSITORY,
    cells_by_id,
    open_api,
    released_notebook,
    source_notebook,
)

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")

NAMES = list(KINDS)


@pytest.fixture(scope="module")
def api(graded_class):
    return open_api(graded_class)


@pytest.fixture(scope="module")
def source():
    return nbformat.read(source_notebook(REPOSITORY / "autograde" / "course"), as_version=4)


def test_the_points_of_the_assignment_add_up_to_100(source):
    points = [c.metadata.nbgrader.get("points", 0) for c in source.cells if _known(c)]
    assert sum(points) == 100


def test_the_source_is_stored_without_outputs_and_with_ids_that_say_what_the_cell_is(source):
    for cell in source.cells:
        if _known(cell):
            assert cell.id == cell.metadata.nbgrader.grade_id.replace("_", "-")
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None
            assert max(map(len, cell.source.splitlines())) <= 79


def test_the_released_notebook_holds_no_solution_and_no_hidden_test(graded_class):
    text = released_notebook(graded_class).read_text(encoding="utf-8")
    assert not re.search(r"(BEGIN|END) (SOLUTION|HIDDEN TESTS)|Rubric", text)
    released = cells_by_id(released_notebook(graded_class))
    for name in FUNCTIONS:
        assert released[name].rstrip().endswith(f'raise NotImplementedError("{name}")')
        hidden = released[f"test_{name}_more"]
        assert hidden.startswith("# When graded: ")
        assert len(hidden.splitlines()) == 1
        assert f"{name}(" in released[f"test_{name}"]


def test_a_hidden_test_refuses_what_the_visible_one_lets_pass(source):
    cells = {c.metadata.nbgrader.grade_id: c.source for c in source.cells if _known(c)}
    plain = "\n".join(c.source for c in source.cells if c.cell_type == "code" and not _known(c))
    assert set(ALMOST_RIGHT) == set(FUNCTIONS)
    for name, solution in ALMOST_RIGHT.items():
        names: dict = {}
        exec(f"{plain}\n{solution}\n{cells[f'test_{name}']}", names)
        with pytest.raises(AssertionError, match=r"\w+ \w+"):
            exec(cells[f"test_{name}_more"], names)


def test_hidden_tests_need_no_name_that_a_student_may_delete(source):
    cells = {c.metadata.nbgrader.grade_id: c.source for c in source.cells if _known(c)}
    for name in FUNCTIONS:
        given: dict = {}
        exec("\n".join(c.source for c in source.cells if c.cell_type == "code"), given)
        alone = {name: given[name]}
        exec(cells[f"test_{name}"], alone)
        exec(cells[f"test_{name}_more"], alone)


@pytest.mark.parametrize("student", NAMES)
def test_each_cell_of_each_student_gets_the_score_it_deserves(api, student):
    with api.gradebook as book:
        submission = book.find_submission_notebook(PA0, PA0, student)
        scores = {grade.name: grade.auto_score for grade in submission.grades}
        waiting = {grade.name for grade in submission.grades if grade.needs_manual_grade}
    expected = KINDS[student].scores()
    assert scores == expected
    if student != "perfect":
        assert waiting == {cell for cell, score in expected.items() if score is None}


def test_points_given_by_hand_are_part_of_the_score(api):
    with api.gradebook as book:
        submission = book.find_submission(PA0, "perfect")
        assert submission.score == 98
        assert submission.max_score == 100
        assert not submission.needs_manual_grade


def test_only_the_late_student_is_late_and_by_ninety_minutes(api):
    with api.gradebook as book:
        late = {name: book.find_submission(PA0, name).total_seconds_late for name in NAMES}
    assert late == {name: 5400 if name == "late" else 0 for name in NAMES}


def test_a_loop_without_end_is_stopped_in_its_own_test_cells_only(graded_class):
    path = graded_class / "autograded" / "endless" / PA0 / f"{PA0}.ipynb"
    stopped = {
        cell.metadata.nbgrader.grade_id
        for cell in nbformat.read(path, as_version=4).cells
        for output in cell.get("outputs", [])
        if output.output_type == "error" and output.ename == "CellTimeoutError"
    }
    assert stopped == {"test_merge_streams", "test_merge_streams_more"}


@pytest.mark.parametrize("student", NAMES)
def test_each_student_gets_a_feedback_page_with_the_score(graded_class, api, student):
    page = (graded_class / "feedback" / student / PA0 / f"{PA0}.html").read_text(encoding="utf-8")
    with api.gradebook as book:
        score = book.find_submission(PA0, student).score
    assert f"<title>{PA0}: {score:g} of 100</title>" in page


def test_the_exported_grades_are_the_gradebooks(api, tmp_path):
    plugin = CsvExportPlugin(parent=api)
    plugin.to = str(tmp_path / "grades.csv")
    with api.gradebook as book:
        plugin.export(book)
        scores = {name: book.find_submission(PA0, name).score for name in NAMES}
    with (tmp_path / "grades.csv").open(newline="") as lines:
        rows = {row["student_id"]: row for row in csv.DictReader(lines)}
    assert {name: float(row["score"]) for name, row in rows.items()} == scores
    assert {row["assignment"] for row in rows.values()} == {PA0}
    expected = {name: sum(s or 0 for s in KINDS[name].scores().values()) for name in NAMES}
    assert scores == {**expected, "perfect": 98}


def _known(cell) -> bool:
    return "nbgrader" in cell.metadata


ALMOST_RIGHT = {
    "count_levels": """
def count_levels(lines):
    words = [line.split() for line in lines if line]
    return dict(Counter(w[1] if w[1] in LEVELS else "OTHER" for w in words if len(w) > 1))
""",
    "longest_healthy_run": """
def longest_healthy_run(pings):
    best, start = (0, 0), 0
    for i, healthy in enumerate([*pings, False]):
        if not healthy:
            if i - start >= best[1]:
                best = (start, i - start)
            start = i + 1
    return best
""",
    "running_mean": """
def running_mean(values, window):
    recent = []
    for value in values:
        recent = [*recent, value][-window:]
        yield sum(recent) / len(recent)
""",
    "top_words": """
def top_words(messages, k):
    words = [w.strip(string.punctuation) for m in messages for w in m.lower().split()]
    return Counter(words).most_common(k)
""",
    "read_readings": """
def read_readings(text):
    values, bad = {}, []
    for number, line in enumerate(text.splitlines()[1:], start=2):
        try:
            sensor, value = line.split(",")
            values.setdefault(sensor.strip(), []).append(float(value))
        except ValueError:
            bad.append(number)
    return values, bad
""",
    "merge_streams": """
def merge_streams(streams):
    return sorted((p for s in reversed(streams) for p in s), key=lambda p: p[0])
""",
    "config_problems": """
def config_problems(config):
    good = []
    sizes = [2**n for n in range(11)]
    if config.get("model"):
        good.append("model")
    if 1 <= config.get("replicas", 0) <= 64:
        good.append("replicas")
    if config.get("batch_size") in sizes:
        good.append("batch_size")
    if config.get("timeout_s", 0) > 0:
        good.append("timeout_s")
    return sorted({"model", "replicas", "batch_size", "timeout_s"} - set(good))
""",
}
