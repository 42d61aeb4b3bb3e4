"""What lesson 12's bot looks with: a small model of handwritten digits, from photo to answer.

The model is trained at the first use, in some milliseconds, on scikit-learn's digits; the first 200
of them are kept out, to be photographed. The bot's handlers are the lesson's.
"""

from __future__ import annotations

from functools import cache
from io import BytesIO

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

KEPT_OUT = 200
SIDE = 160  # pixels of a photo


class PhotoError(ValueError):
    """What was sent is no picture."""


def photo_of(number: int) -> tuple[np.ndarray, int]:
    """A photo (SIDE x SIDE, grey, uint8) of one of the 200 kept-out digits, and its truth."""
    if not 0 <= number < KEPT_OUT:
        raise ValueError(f"There is no digit {number}; take one from 0 to {KEPT_OUT - 1}.")
    digits = load_digits()
    pixels = np.kron(digits.images[number] / 16 * 255, np.ones((SIDE // 8, SIDE // 8)))
    return pixels.astype(np.uint8), int(digits.target[number])


def read_digit(photo: bytes) -> tuple[int, bytes]:
    """The digit on a photo (light on dark), and what the model saw of it, 8 x 8 pixels, as PNG.

    Raises PhotoError for bytes that are no picture.
    """
    try:
        with Image.open(BytesIO(photo)) as image:
            small = image.convert("L").resize((8, 8), Image.Resampling.BOX)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise PhotoError("This is no picture that can be read; send a JPEG or a PNG.") from None
    pixels = np.asarray(small, dtype=float).reshape(1, 64) / 255 * 16
    seen = BytesIO()
    small.resize((SIDE, SIDE), Image.Resampling.NEAREST).save(seen, "PNG")
    return int(_model().predict(pixels)[0]), seen.getvalue()


@cache
def _model() -> KNeighborsClassifier:
    digits = load_digits()
    return KNeighborsClassifier(3).fit(digits.data[KEPT_OUT:], digits.target[KEPT_OUT:])
