"""The runner of lessons: `mlsys run` executes notebooks by papermill, two at a time, and remembers.

`fingerprint` says what a run depends on, `worker` executes inside a process of its own by papermill
with our `engine`, `warm` keeps the process (`zygote`) from which the workers' kernels are forked
(`provisioner`), `runner` drives the workers, `watch` weighs what they start and finds what is left,
`command` talks to a person. Nothing heavy is imported before there is something to run.
"""

from mlsys.notebooks.command import run_command
from mlsys.notebooks.runner import Outcome, run

__all__ = ["Outcome", "run", "run_command"]
