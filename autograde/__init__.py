"""A grader for any nbgrader course: faster, sandboxed, explained; it knows nothing of mlsys.

To switch it on, end the course's nbgrader_config.py with

    import autograde

    autograde.configure(c)
"""

from typing import Any


def configure(c: Any) -> None:
    """Have nbgrader run submissions in a sandbox and tests outside the student's process.

    `c` is the configuration object of nbgrader_config.py. Call this after the course's own settings
    of `c.Autograde.autograde_preprocessors` and `c.GenerateAssignment.preprocessors`, if any: other
    steps in them stay.
    """
    from nbgrader.converters import Autograde, GenerateAssignment

    ours = {
        "Execute": "autograde.execute.ProtectedExecute",
        "SaveAutoGrades": "autograde.execute.SaveScores",
        "CheckCellMetadata": "autograde.execute.CheckMetadata",
    }
    for trait in ("sanitize_preprocessors", "autograde_preprocessors"):
        steps = _steps(c.Autograde, trait, Autograde)
        c.Autograde[trait] = [ours.get(_name(step), step) for step in steps]
    c.Autograde.exporter_class = "autograde.intake.plain.IntakeExporter"
    c.GenerateFeedback.exporter_class = "autograde.feedback.FeedbackExporter"
    c.ExportApp.plugin_class = "autograde.export.CsvExport"
    steps = [
        "autograde.changed.SaveChangedCells" if _name(step) == "SaveCells" else step
        for step in _steps(c.GenerateAssignment, "preprocessors", GenerateAssignment)
    ]
    c.GenerateAssignment.preprocessors = ["autograde.execute.LintTests", *steps]
    c.GenerateAssignment.exporter_class = "autograde.notebooks.ChangingExporter"


def is_configured(c: Any) -> bool:
    """Whether `configure` was called on this configuration."""
    steps = c.Autograde.get("autograde_preprocessors")
    return isinstance(steps, list) and any(_name(step) == "ProtectedExecute" for step in steps)


def _steps(section: Any, trait: str, owner: type) -> list[Any]:
    chosen = section.get(trait)
    return list(chosen) if isinstance(chosen, list) else list(owner.class_traits()[trait].default())


def _name(step: Any) -> str:
    return (step if isinstance(step, str) else step.__name__).rpartition(".")[2]
