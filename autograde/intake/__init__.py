"""What students hand in, before anything reads it: odd names, formats and shapes are mended where
there is one reading, what is not a notebook or is dangerous is put aside with a sentence, and
bundles of a learning platform are unpacked safely. It runs nothing of what it reads.
"""

from autograde.intake.bundles import BundleError
from autograde.intake.cells import blank
from autograde.intake.collect import Collected, collect
from autograde.intake.prepare import Prepared, prepare
from autograde.intake.staging import stage, students

__all__ = [
    "BundleError",
    "Collected",
    "Prepared",
    "blank",
    "collect",
    "prepare",
    "stage",
    "students",
]
