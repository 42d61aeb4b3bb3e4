"""For tests of what real servers and clocks do: another program may have had the machine."""

import functools
from collections.abc import Callable
from typing import Any


def measured(test: Callable[..., Any]) -> Callable[..., Any]:
    """A test whose assertions must hold in one of three tries; what is wrong fails in each."""

    @functools.wraps(test)
    def tried(*arguments: Any, **named: Any) -> None:
        for left in (2, 1, 0):
            try:
                return test(*arguments, **named)
            except AssertionError:
                if not left:
                    raise

    return tried
