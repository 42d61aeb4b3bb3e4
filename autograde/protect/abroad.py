"""What a test sets for the whole process, so that the student's process has it too: seeds of the
global generators, and temporary files and folders, which belong to one user and must serve two.
"""

import contextlib
import os
import random
import sys
import tempfile
from collections.abc import Callable
from typing import Any


def share_temporary_files() -> None:
    """Let what `tempfile` makes here be read and written by the other process, which is another
    user; both stand in a folder that only they can reach.
    """
    for name, mode in (("mkdtemp", 0o777), ("_mkstemp_inner", 0o666)):
        setattr(tempfile, name, _opened_to_all(getattr(tempfile, name), mode))


def _opened_to_all(make: Callable[..., Any], mode: int) -> Callable[..., Any]:
    def made(*arguments: Any, **keywords: Any) -> Any:
        found = make(*arguments, **keywords)
        with contextlib.suppress(OSError):
            os.chmod(found[1] if isinstance(found, tuple) else found, mode)  # noqa: PTH101
        return found

    return made


def share_seeds(tell: Callable[[str, Any], None]) -> None:
    """Have `tell(library, seed)` called whenever a test seeds Python's generator or NumPy's."""
    random.seed = _told(random.seed, "random", tell)
    if "numpy" in sys.modules:
        numpy = sys.modules["numpy"].random
        numpy.seed = _told(numpy.seed, "numpy", tell)


def _told(seed: Callable[..., Any], library: str, tell: Callable[[str, Any], None]) -> Any:
    def seeded(*arguments: Any, **keywords: Any) -> None:
        seed(*arguments, **keywords)
        value = [*arguments, *keywords.values()][:1]
        tell(library, value[0] if value else None)

    return seeded
