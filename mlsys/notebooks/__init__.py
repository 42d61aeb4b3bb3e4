"""The runner of lessons: `mlsys run` executes notebooks by papermill, two at a time, and remembers.

`fingerprint` says what a run depends on, `worker` executes inside a process of its own, `runner`
watches the workers (time, memory, processes left behind), `command` talks to a person. Nothing
heavy is imported before there is something to run.
"""

from mlsys.notebooks.command import run_command
from mlsys.notebooks.runner import Outcome, run

__all__ = ["Outcome", "run", "run_command"]
