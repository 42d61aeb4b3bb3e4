"""Confines a process that runs work nobody vouches for. `isolate` and `confine` put on every layer
that this machine has, and `doctor` says which those are and what is open without the others. Linux
has them all without root; elsewhere only limits of resources are put on, and that is said plainly.
"""

from autograde.sandbox.doctor import Row, doctor, is_enough, missing, what_is_missing
from autograde.sandbox.layers import Policy, SandboxError, confine, isolate

__all__ = [
    "Policy",
    "Row",
    "SandboxError",
    "confine",
    "doctor",
    "is_enough",
    "isolate",
    "missing",
    "what_is_missing",
]
