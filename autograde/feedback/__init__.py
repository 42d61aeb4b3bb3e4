"""The feedback page of a graded notebook: nbgrader's feedback with another page. It says what each
test gave and why, what was mended, and shows the student's own work; it loads nothing, runs nothing
and keeps hidden tests hidden. `shield` decides what may be seen, `safe` makes text fit for a page.
"""

from pathlib import Path
from typing import Any

import nbgrader
from jinja2 import Environment
from nbconvert.exporters import HTMLExporter
from nbformat.notebooknode import NotebookNode
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.preprocessors import ClearHiddenTests, ClearMarkScheme
from traitlets import Bool
from traitlets.config import Config

from autograde import ledger
from autograde.feedback.page import Page, build_page
from autograde.feedback.shield import Markers

_environments: dict[tuple[str, ...], Environment] = {}
_OURS = Path(__file__).parent / "templates"
_THEIRS = Path(nbgrader.__file__).parent / "server_extensions/formgrader/templates"


class FeedbackExporter(HTMLExporter):
    """For `c.GenerateFeedback.exporter_class`."""

    show_hidden_tests = Bool(
        False, help="Show hidden tests, their messages and what they printed to students."
    ).tag(config=True)
    show_outputs_after_hidden_tests = Bool(
        False,
        help="Show what a student's cells printed after a hidden test had run. Such a cell can "
        "print what the hidden test handed to the student's functions.",
    ).tag(config=True)

    def __init__(self, config: Config | None = None, **settings: Any) -> None:
        merged = Config()
        # GenerateFeedback names nbgrader's page for HTMLExporter; ours stands below that class.
        merged.FeedbackExporter.template_name = "autograde_feedback"
        merged.FeedbackExporter.extra_template_basedirs = [str(_OURS), str(_THEIRS)]
        merged.FeedbackExporter.extra_template_paths = [str(_OURS), str(_THEIRS)]
        merged.merge(config or Config())
        super().__init__(config=merged, **settings)

    def _create_environment(self) -> Environment:
        """One for all pages of a process: reading nbgrader's templates takes most of the time."""
        key = tuple(self.template_paths)
        if key not in _environments:
            environment = _environments[key] = super()._create_environment()
            # Named in blocks of nbgrader's page that ours replaces.
            environment.filters.update(highlight_code=str, filter_data_type=list)
        return _environments[key]

    def from_notebook_node(
        self, nb: NotebookNode, resources: dict[str, Any] | None = None, **settings: Any
    ) -> tuple[str, dict[str, Any]]:
        # HTMLExporter would read the finished page again to mend what ours has not.
        resources = self._init_resources(resources)
        return super(HTMLExporter, self).from_notebook_node(nb, resources, **settings)

    def _preprocess(
        self, nb: NotebookNode, resources: dict[str, Any]
    ) -> tuple[NotebookNode, dict[str, Any]]:
        nb, resources = super()._preprocess(nb, resources)
        resources["feedback"] = self._page(nb, resources)
        return nb, resources

    def _page(self, nb: NotebookNode, resources: dict[str, Any]) -> Page:
        about = resources.get("nbgrader", {})
        course = getattr(self.parent, "coursedir", None)
        entry = None
        if course is not None and "student" in about:
            entry = ledger.read(Path(course.root), about["assignment"], about["student"])
        hidden, scheme = ClearHiddenTests(parent=self), ClearMarkScheme(parent=self)
        return build_page(
            nb,
            about,
            report=entry.reports.get(about["notebook"], {}) if entry else {},
            repairs=entry.repairs if entry else (),
            quarantined=entry.quarantined if entry else "",
            waiting=_waiting(about),
            markers=(
                Markers(hidden.begin_test_delimeter, hidden.end_test_delimeter),
                Markers(scheme.begin_mark_scheme_delimeter, scheme.end_mark_scheme_delimeter),
            ),
            show_hidden=self.show_hidden_tests,
            show_after=self.show_outputs_after_hidden_tests,
        )


def _waiting(about: dict[str, Any]) -> frozenset[str]:
    """The cells of a notebook that a person has still to grade."""
    try:
        with Gradebook(about["db_url"]) as book:
            found = book.find_submission_notebook(
                about["notebook"], about["assignment"], about["student"]
            )
            return frozenset(grade.name for grade in found.grades if grade.needs_manual_grade)
    except (KeyError, MissingEntry):
        return frozenset()
