"""A site whose files can be had only after failures, for the tests of lesson 12's downloader."""

from __future__ import annotations

import asyncio


class Site:
    """`await site.get(name)` takes `takes` s and fails `failures` times for each name.

    `calls` lists the names that were asked for, `now` counts the calls under way, `most` those
    that ever were at once.
    """

    def __init__(
        self, *, failures: int = 0, takes: float = 0.01, error: type[Exception] = ConnectionError
    ) -> None:
        self.failures, self.takes, self.error = failures, takes, error
        self.calls: list[object] = []
        self.now = self.most = 0

    async def get(self, name: object) -> str:
        """`<name>`, after its failures."""
        self.calls.append(name)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(self.takes)
            if self.calls.count(name) <= self.failures:
                raise self.error(name)
            return f"<{name}>"
        finally:
            self.now -= 1
