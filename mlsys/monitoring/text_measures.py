"""What of a text can be counted: its length, its words, and how many of them are new.

`drift` judges a column of texts by these; with a classifier beside them, `text` judges two lists.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from mlsys.monitoring.errors import MonitoringError

WORD = re.compile(r"\w+")
FEW_WORDS = 3  # on average: names and keys have fewer
LEAST = (40, 20)  # reference and current texts
MOST = 8_000  # reference texts, and half as many current ones, drawn at random
READ = 4_000  # characters of a text that are read for its words
NAMES: Mapping[str, tuple[str, str]] = {  # a sentence's subject, and its unit
    "length": ("the texts' length", " characters"),
    "words": ("the texts' length", " words"),
    "unknown": ("words that the reference has not", ""),
}
AXES: Mapping[str, str] = {  # a figure's x axis
    "length": "characters",
    "words": "words",
    "unknown": "share of unknown words",
}


def words(text: str) -> list[str]:
    """The words of a text, lower case."""
    return WORD.findall(text.lower())


def vocabulary(texts: Iterable[str]) -> frozenset[str]:
    """The words that occur."""
    return frozenset(word for text in texts for word in words(text[:READ]))


def measures(texts: Iterable[str], known: frozenset[str]) -> pd.DataFrame:
    """A row a text: `length` in characters, `words`, and `unknown`, the share of its words that are
    not in `known` (0 for a text without words)."""
    rows = []
    for text in texts:
        found = words(text[:READ])
        new = sum(word not in known for word in found)
        rows.append((len(text), len(found), new / len(found) if found else 0.0))
    return pd.DataFrame(rows, columns=["length", "words", "unknown"])


def are_texts(labels: Sequence[str], rows: int) -> bool:
    """Whether a column of `rows` values with these labels holds texts: most of them differ, and
    they have several words."""
    if rows < LEAST[0] or 2 * len(labels) <= rows:
        return False
    some = labels[:: max(1, len(labels) // 200)]
    return sum(len(text.split()) for text in some) >= FEW_WORDS * len(some)


def compared(
    reference: np.ndarray, current: np.ndarray, *, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The measures of the two columns' texts, of no more than `MOST` rows, drawn with `seed`.

    The vocabulary comes from one half of the reference's texts and the other half is compared: a
    vocabulary knows all words of its own texts. Raises MonitoringError for too few texts.
    """
    if len(reference) < LEAST[0] or len(current) < LEAST[1]:
        raise MonitoringError(
            f"Texts are judged from {LEAST[0]} reference and {LEAST[1]} current ones on, not from "
            f"{len(reference)} and {len(current)}."
        )
    rng = np.random.default_rng(seed)
    old, new = (
        rng.permutation(texts)[:most].tolist()
        for texts, most in ((reference, MOST), (current, MOST // 2))
    )
    known = vocabulary(old[::2])
    return measures(old[1::2], known), measures(new, known)
