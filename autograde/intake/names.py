"""Names of files as students and browsers change them: which file is the assignment's notebook, and
which names can be written anywhere without harm.
"""

import re
import unicodedata
from collections.abc import Iterable

# What browsers, desktops and JupyterLab add when a name is taken: "hw1 (1)", "hw1-Copy1",
# "hw1 - Copy", "hw1 copy 2", "Copy of hw1".
_COPY = re.compile(r"(?:\s*\(\d{1,3}\)|[\s_-]+copy(?:[\s_-]*\(?\d{0,3}\)?)?)$", re.IGNORECASE)
_COPY_OF = re.compile(r"^copy(?: \(\d{1,3}\))? of ", re.IGNORECASE)
_SUFFIX = re.compile(r"\.ipynb(?:\.(?:json|txt|ipynb))*$", re.IGNORECASE)
_RESERVED = re.compile(
    r"^(?:con|prn|aux|nul|clock\$|com[0-9¹²³]|lpt[0-9¹²³])(?:\.|$)", re.IGNORECASE
)
_UNSAFE = set('<>:"/\\|?*[]{}!')
_LONGEST = 120  # bytes of one name; file systems allow 255, and paths add up


def is_notebook(name: str) -> bool:
    """Whether a file's name says that it holds a notebook, also as `hw1.ipynb.txt`."""
    return bool(_SUFFIX.search(name.strip()))


def plain_stem(name: str) -> str:
    """A notebook's name without what copying, downloading and typing add to it.

    Letter case, accents in either Unicode form, blanks and underscores do not count.
    """
    stem = _SUFFIX.sub("", unicodedata.normalize("NFKC", name).strip()).strip()
    before = None
    while before != stem:
        before = stem
        stem = _COPY_OF.sub("", _COPY.sub("", stem).strip())
    return re.sub(r"[\s_-]+", "_", stem).casefold()


def match(names: Iterable[str], wanted: Iterable[str]) -> dict[str, list[str]]:
    """For each wanted stem the files that may be it, of the best kind that there is: the exact
    name, or else every name that differs as copies do. A name is never given to two notebooks.
    """
    names, wanted = sorted(names), list(wanted)
    exact = {f"{stem}.ipynb" for stem in wanted}
    by_plain: dict[str, list[str]] = {}
    for stem in wanted:
        by_plain.setdefault(plain_stem(stem), []).append(stem)
    found: dict[str, list[str]] = {stem: [] for stem in wanted}
    for name in names:
        if name in exact:
            found[name.removesuffix(".ipynb")] = [name]
    for name in names:
        plain = plain_stem(name)
        # Canvas numbers what is handed in again: hw1-1.ipynb.
        stems = by_plain.get(plain) or by_plain.get(re.sub(r"_\d{1,2}$", "", plain), [])
        stems = stems if is_notebook(name) else []
        if name not in exact and len(stems) == 1 and found[stems[0]] != [f"{stems[0]}.ipynb"]:
            found[stems[0]].append(name)
    return found


def shown(name: str, *, most: int = 80) -> str:
    """A name as it can stand in a sentence: no control, no direction mark, of bounded length."""
    text = "".join(c if c.isprintable() and not _turns(c) else "\ufffd" for c in name)
    return text if len(text) <= most else text[: most - 1] + "…"


def _turns(char: str) -> bool:
    return unicodedata.category(char) in ("Cf", "Cc", "Cs", "Co") or char in "\u2028\u2029"


def safe_name(name: str) -> str:
    """The name as it may be written on any system, or "" where nothing of it is left.

    No separators, no pattern characters (nbgrader reads them as globs), no direction marks, no
    device of Windows, no leading dot, in Unicode's composed form. Twice is the same as once.
    """
    text = unicodedata.normalize("NFC", name)
    text = "".join("_" if c in _UNSAFE else c for c in text if not _turns(c) and c.isprintable())
    text = " ".join(text.split()).strip(" .")
    while len(text.encode("utf-8")) > _LONGEST:
        stem, dot, suffix = text.rpartition(".")
        if dot and 0 < len(suffix) <= 12 and len(stem) > 1:
            text = f"{stem[:-1].rstrip(' .')}.{suffix}" if stem[:-1].rstrip(" .") else suffix
        else:
            text = text[:-1].rstrip(" .")
    text = unicodedata.normalize("NFC", text)
    return f"_{text}" if _RESERVED.match(text) else text


def looks_like(name: str) -> str:
    """What two names share that the eye cannot tell apart: compared without case, accents and the
    commonest Cyrillic and Greek doubles of Latin letters (Unicode TR 39, confusables, a part).
    """
    text = unicodedata.normalize("NFKD", name).translate(_DOUBLES).casefold()
    return "".join(c for c in text if not unicodedata.combining(c) and not _turns(c))


_DOUBLES = str.maketrans(
    "аеорсухіјѕԁһոνοαικρτυАВЕКМНОРСТХУІЈЅΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
    "aeopcyxijsdhnvoaikptuABEKMHOPCTXYIJSABEZHIKMNOPTYX",
)
