"""The workbook's data sets by name: `load("sms_spam")` gives a pandas frame, checked and described.

Each set has a folder in `datasets/` with its card (what, where from, licence, faults) and its
recipe (an installed wheel or an address, and a sha256). What is fetched goes to the cache folder:
`MLSYS_DATA` when set, else the user's cache. Nothing is unpickled, nothing is used whose sum
differs.
"""

import hashlib
import importlib.util
import os
import shutil
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pooch

DATASETS = Path(__file__).parent.parent / "datasets"


class DataError(Exception):
    """A data set that cannot be had: the message says why and what to do."""


@dataclass(frozen=True)
class Recipe:
    """Where a data set's one file comes from: a wheel's member, or an archive at an address."""

    name: str
    loader: str
    member: str
    sha256: str
    wheel: str = ""
    url: str = ""


def names() -> list[str]:
    """The data sets that can be loaded."""
    return sorted(path.parent.name for path in DATASETS.glob("*/recipe.toml"))


def card(name: str) -> str:
    """What one should know before using a data set, as Markdown."""
    return (DATASETS / recipe(name).name / "card.md").read_text(encoding="utf-8")


def recipe(name: str) -> Recipe:
    """The recipe of a data set; `DataError` for an unknown name."""
    if name not in names():
        raise DataError(f"There is no data set {name!r}; there are {', '.join(names())}.")
    fields = tomllib.loads((DATASETS / name / "recipe.toml").read_text(encoding="utf-8"))
    return Recipe(name=name, **fields)


def cache_folder() -> Path:
    """Where fetched files are kept."""
    named = os.environ.get("MLSYS_DATA")
    return Path(named) if named else Path(pooch.os_cache("mlsys"))


def load(name: str, *, stand_in: bool = False) -> pd.DataFrame:
    """Load a data set as a frame.

    digits: 5,000 rows, `label` (0 to 9) and 784 pixels `p0`... (0 to 255, row by row, 28 x 28).
    sms_spam: 5,574 rows, `label` (ham, spam) and `text`.
    faces: 200 rows, `label` (face, other) and 625 pixels (0 to 1, 25 x 25).

    With `stand_in`, a set that cannot be had here is replaced by a small synthetic one, which
    says so: `frame.attrs["synthetic"]` is true, and `title` adds it to every title.

    Raises `DataError` with one sentence when the data are not here and cannot be fetched.
    """
    wanted = recipe(name)
    try:
        frame = _LOADERS[wanted.loader](locate(wanted))
    except DataError as missing:
        if not (stand_in and name == "sms_spam"):
            raise
        frame = synthetic_sms()
        frame.attrs = {"name": name, "synthetic": True, "why": str(missing)}
        return frame
    frame.attrs = {"name": name, "synthetic": False}
    return frame


def title(frame: pd.DataFrame, text: str) -> str:
    """A plot's title, which says when the data are synthetic."""
    return f"{text} (synthetic data)" if frame.attrs.get("synthetic") else text


def images(frame: pd.DataFrame) -> np.ndarray:
    """The pixels of an image set as an array of shape (rows, side, side)."""
    pixels = frame.drop(columns="label").to_numpy()
    side = round(pixels.shape[1] ** 0.5)
    return pixels.reshape(-1, side, side)


def locate(wanted: Recipe) -> Path:
    """The data set's file on this machine, fetched if need be, its sum checked."""
    path = _in_wheel(wanted) if wanted.wheel else _fetched(wanted)
    if _sha256(path) != wanted.sha256:
        raise DataError(
            f"{path} is not the {wanted.name} data that this workbook was written for "
            "(its sha256 differs); delete it and load again."
        )
    return path


def _in_wheel(wanted: Recipe) -> Path:
    package, _, inside = wanted.member.partition("/")
    spec = importlib.util.find_spec(package)
    path = Path(spec.origin).parent / inside if spec and spec.origin else None
    if path is None or not path.exists():
        raise DataError(
            f"The {wanted.name} data come with {wanted.wheel}, which is not installed here: "
            "run `make lab` again, or `mlsys doctor` to see what else is missing."
        )
    return path


def _fetched(wanted: Recipe) -> Path:
    path = cache_folder() / wanted.name / wanted.member
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    archive = path.with_suffix(".zip")
    try:
        downloader = pooch.HTTPDownloader(timeout=20)
        downloader(wanted.url, str(archive), None)
        with zipfile.ZipFile(archive) as packed, packed.open(wanted.member) as source:
            unpacked = path.with_suffix(".part")
            with unpacked.open("wb") as target:
                shutil.copyfileobj(source, target)
    # Whatever goes wrong between here and a server that we do not run, the reader can do one thing.
    except Exception as error:
        raise DataError(
            f"The {wanted.name} data are not in the cache and could not be fetched "
            f"({type(error).__name__}): connect to the internet once, or put {wanted.member} "
            f"from {wanted.url} into {path.parent}."
        ) from error
    finally:
        archive.unlink(missing_ok=True)
    if _sha256(unpacked) != wanted.sha256:
        unpacked.unlink()
        raise DataError(
            f"The file at {wanted.url} is not the {wanted.name} data that this workbook was "
            "written for (its sha256 differs); nothing was kept."
        )
    unpacked.replace(path)
    return path


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _digits(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, header=None, dtype=np.uint8)
    table.columns = [*(f"p{i}" for i in range(table.shape[1] - 1)), "label"]
    return table


def _faces(path: Path) -> pd.DataFrame:
    crops = np.load(path, allow_pickle=False)
    table = pd.DataFrame(crops.reshape(len(crops), -1)).add_prefix("p")
    table["label"] = ["face"] * 100 + ["other"] * 100
    return table


def _sms_spam(path: Path) -> pd.DataFrame:
    lines = path.read_text(encoding="utf-8").splitlines()
    return pd.DataFrame([line.split("\t", 1) for line in lines], columns=["label", "text"])


_LOADERS = {"digits": _digits, "faces": _faces, "sms_spam": _sms_spam}


def synthetic_sms(rows: int = 1200, *, seed: int = 7) -> pd.DataFrame:
    """Made-up messages, about 13 % of them spam as in the real set; the two kinds share words.

    They are easier to tell apart than real ones: scores on them say nothing of real mail.
    """
    rng = np.random.default_rng(seed)
    shared = "you now the call me today free time please text get your this week".split()
    own = {
        "ham": "home later dinner sorry bus love meeting ok tomorrow mum lecture going".split(),
        "spam": "prize claim winner cash urgent code award offer mobile reply ringtone".split(),
    }
    labels = np.where(rng.random(rows) < 0.134, "spam", "ham")
    texts = []
    for label in labels:
        telling = rng.choice(own[label], rng.integers(1, 6))
        words = np.concatenate([rng.choice(shared, rng.integers(3, 10)), telling])
        texts.append(" ".join(rng.permutation(words)))
    return pd.DataFrame({"label": labels, "text": texts})
