"""The registry of a service's models: a folder with a record for each version, and one pointer.

`promote` writes a version's record and lets the file `champion` name it; `Registry` is the server's
side, which looks at the pointer at each request. A record is JSON and holds the weights of the last
layer, on inputs as `traffic.encoded` makes them: nothing is unpickled.
"""

import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from mlsys.monitoring.errors import MonitoringError

log = logging.getLogger(__name__)
POINTER = "champion"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Version:
    """A logistic layer: `weights` of shape (inputs,), and why it was promoted."""

    name: str
    weights: np.ndarray
    intercept: float
    why: str

    def scores(self, inputs: np.ndarray) -> np.ndarray:
        """Probabilities of spam, (n,), for encoded rows (n, inputs)."""
        return expit(inputs @ self.weights + self.intercept)


def promote(folder: Path | str, name: str, fitted: Any, why: str) -> None:
    """Store a fitted logistic layer as version `name`; then let the pointer name it, in one step.

    Raises MonitoringError for a name that is no file's name.
    """
    folder = Path(folder)
    record = {
        "weights": fitted.coef_[0].tolist(),
        "intercept": float(fitted.intercept_[0]),
        "why": why,
    }
    _replace(folder / f"{_checked(name)}.json", json.dumps(record))
    _replace(folder / POINTER, name)


def read(folder: Path | str, name: str, inputs: int) -> Version:
    """A stored version; MonitoringError when it is missing, broken, or made for other inputs."""
    path = Path(folder) / f"{_checked(name)}.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        weights = np.array(record["weights"], dtype=float)
        found = Version(name, weights, float(record["intercept"]), str(record["why"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MonitoringError(f"Version {name} cannot be read: {error!r}.") from None
    if weights.shape != (inputs,) or not np.isfinite([*weights, found.intercept]).all():
        raise MonitoringError(f"Version {name} does not hold {inputs} weights that are numbers.")
    return found


class Registry:
    """What a server asks at each request: who is champion. One `stat` while nothing changes.

    A pointer to a version that cannot be read changes nothing: the last good one goes on, and
    `problem` says why. Raises MonitoringError when there is no champion to begin with.
    """

    def __init__(self, folder: Path | str, inputs: int) -> None:
        self._folder, self._inputs = Path(folder), inputs
        self._seen = self._stamp()
        self._champion = self._read()
        self.problem = ""

    def champion(self) -> Version:
        stamp = self._stamp()
        if stamp != self._seen or self.problem:
            try:
                self._champion, self.problem = self._read(), ""
            except MonitoringError as error:
                if str(error) != self.problem:
                    log.warning("%s goes on: %s", self._champion.name, error)
                self.problem = str(error)
            self._seen = stamp
        return self._champion

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = (self._folder / POINTER).stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino

    def _read(self) -> Version:
        try:
            name = (self._folder / POINTER).read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            raise MonitoringError(
                f"The registry {self._folder} has no file {POINTER!r} that names a version."
            ) from None
        return read(self._folder, name, self._inputs)


def _checked(name: str) -> str:
    if not NAME.fullmatch(name):
        raise MonitoringError(
            f"{name[:80]!r} is no version's name: letters, digits, '.', '_', '-'."
        )
    return name


def _replace(path: Path, text: str) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
