"""The four schemes are what their courses say, and `grade` applies them as a person would."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.schemes import (
    Part,
    Scheme,
    SchemeError,
    draw_grade,
    draw_parts,
    grade,
    points,
    scheme,
    schemes,
)

share = st.floats(0, 1)
every_scheme = pytest.mark.parametrize("one", schemes(), ids=lambda one: one.name)
SHARIF = scheme("sharif-2023")


def flat(one, value):
    return {part.name: value for part in one.parts}


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("ierg4080-2018", {"attendance": 10, "assignments": 60, "final exam": 30}),
        (
            "iems5780-2018",
            {"attendance": 10, "assignments": 45, "mini project": 15, "final exam": 30},
        ),
        ("iems5780-2019", {"attendance": 10, "assignments": 60, "final exam": 30}),
        ("sharif-2023", {"final project": 12, "assignments": 3, "quizzes": 2, "final exam": 4}),
    ],
)
def test_a_scheme_has_the_parts_of_its_syllabus(name, parts):
    assert {part.name: part.points for part in scheme(name).parts} == parts


def test_there_are_four_schemes_and_only_sharif_is_not_out_of_100():
    assert {one.name: one.out_of for one in schemes()} == {
        "ierg4080-2018": 100,
        "iems5780-2018": 100,
        "iems5780-2019": 100,
        "sharif-2023": 21,
    }


def test_items_are_those_that_the_courses_name():
    items = {(one.name, part.name): part.items for one in schemes() for part in one.parts}
    named = {where: n for where, n in items.items() if n > 1}
    assert named == {
        ("iems5780-2019", "attendance"): 11,
        ("iems5780-2019", "assignments"): 4,
        ("sharif-2023", "final project"): 3,
        ("sharif-2023", "assignments"): 3,
        ("sharif-2023", "quizzes"): 7,
    }


@every_scheme
def test_full_marks_earn_all_points_and_no_marks_none(one):
    assert grade(one, flat(one, 1)) == pytest.approx(one.out_of)
    assert grade(one, flat(one, 0)) == 0


def test_a_case_that_was_worked_out_by_hand():
    marks = {
        "final project": [1, 0.5, 0.75],  # 12 x 0.75 = 9
        "assignments": 0.8,  # 2.4
        "quizzes": [1, 1, 1, 1, 0, 0, 1],  # 10/7
        "final exam": 0.5,  # 2
    }
    assert grade(SHARIF, marks) == pytest.approx(13.4 + 10 / 7)


@every_scheme
@settings(max_examples=30)
@given(data=st.data())
def test_a_list_of_items_counts_as_its_mean_in_any_order(one, data):
    lists = {
        part.name: data.draw(st.lists(share, min_size=part.items, max_size=part.items))
        for part in one.parts
    }
    means = {name: math.fsum(marks) / len(marks) for name, marks in lists.items()}
    turned = {name: marks[::-1] for name, marks in lists.items()}
    assert grade(one, lists) == pytest.approx(grade(one, means))
    assert grade(one, lists) == pytest.approx(grade(one, turned))


@every_scheme
@settings(max_examples=30)
@given(data=st.data())
def test_a_better_mark_never_lowers_a_grade_and_adds_its_points(one, data):
    marks = {part.name: data.draw(share) for part in one.parts}
    part = data.draw(st.sampled_from(one.parts))
    better = data.draw(st.floats(marks[part.name], 1))
    gained = grade(one, marks | {part.name: better}) - grade(one, marks)
    assert gained == pytest.approx(part.points * (better - marks[part.name]), abs=1e-9)


@every_scheme
@settings(max_examples=30)
@given(data=st.data())
def test_points_of_the_parts_add_up_to_the_grade(one, data):
    marks = {part.name: data.draw(share) for part in one.parts}
    earned = points(one, marks)
    assert list(earned) == [part.name for part in one.parts]
    assert sum(earned.values()) == pytest.approx(grade(one, marks))
    assert all(0 <= earned[part.name] <= part.points for part in one.parts)


def test_one_project_phase_is_worth_as_much_as_fourteen_quizzes():
    worth = {part.name: part.item_points for part in SHARIF.parts}
    assert worth["final project"] / worth["quizzes"] == pytest.approx(14)


def test_a_numpy_number_is_a_mark():
    np = pytest.importorskip("numpy")
    marks = flat(SHARIF, 1.0) | {"final exam": np.float64(0.5)}
    assert grade(SHARIF, marks) == pytest.approx(19)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"final exam": 85}, "final exam is 85; it must be a share from 0 to 1"),
        ({"final exam": -0.1}, "share from 0 to 1"),
        ({"final exam": math.nan}, "share from 0 to 1"),
        ({"final exam": "0.5"}, "share from 0 to 1"),
        ({"final exam": None}, "share from 0 to 1"),
        ({"midterm": 1}, "no part 'midterm'; it has final project"),
        ({"quizzes": [1, 1]}, "7 item.* got 2 marks; write 0"),
        ({"quizzes": [1, 1, 1, 1, 1, 1, 7]}, "quizzes is 7"),
    ],
)
def test_a_mark_that_cannot_be_gets_one_sentence(change, says):
    with pytest.raises(SchemeError, match=says):
        grade(SHARIF, flat(SHARIF, 1) | change)


def test_a_missing_part_is_named_rather_than_counted_as_zero():
    with pytest.raises(SchemeError, match="needs a mark for quizzes, final exam"):
        grade(SHARIF, {"final project": 1, "assignments": 1})


def test_an_unknown_scheme_is_answered_with_those_there_are():
    with pytest.raises(SchemeError, match="no scheme 'mit'; there are ierg4080-2018"):
        scheme("mit")


def test_a_scheme_whose_parts_do_not_add_up_is_refused():
    with pytest.raises(SchemeError, match="add up to 90, not 100"):
        Scheme("broken", "", 100, (Part("exam", 90),))


def test_the_bars_of_every_scheme_in_the_figure_add_up_to_the_whole_grade():
    total = dict.fromkeys((one.name for one in schemes()), 0.0)
    for bar in draw_parts(title="").data:
        for name, share in zip(bar.y, bar.x):
            total[name] += share
    assert total == pytest.approx(dict.fromkeys(total, 100))


@every_scheme
def test_earned_and_lost_bars_make_up_each_part_and_the_headline_is_the_grade(one):
    marks = flat(one, 0.75)
    fig = draw_grade(one, marks)
    earned, lost = (dict(zip(bar.y, bar.x)) for bar in fig.data)
    for part in one.parts:
        assert earned[part.name] + lost[part.name] == pytest.approx(part.points)
    assert fig.layout.title.text.startswith(f"{grade(one, marks):.1f} of {one.out_of:g} points")
