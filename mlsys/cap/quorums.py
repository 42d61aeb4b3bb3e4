"""Quorums in closed form: when R and W overlap, and how often a quorum can be reached.

Replicas are up independently of each other, each with its own probability; what correlated
failures and partitions do, the simulation shows. How stale reads of quorums that do not overlap
are is the business of `pbs.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


class QuorumError(ValueError):
    """A quorum that cannot exist; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Availability:
    """Of one choice of R and W: how often reads and writes find their quorum."""

    n: int
    r: int
    w: int
    read: float
    write: float

    @property
    def overlaps(self) -> bool:
        """Whether every read quorum meets every write quorum."""
        return overlaps(self.n, self.r, self.w)


def check_quorum(n: int, *sizes: int) -> None:
    """Raise QuorumError unless n is 1 to 1,000 and every quorum size lies in 1..n."""
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= 1000:
        raise QuorumError(f"A store has 1 to 1,000 replicas, not {n!r}.")
    for size in sizes:
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= n:
            raise QuorumError(f"A quorum of {n} replicas has 1 to {n} members, not {size!r}.")


def majority(n: int) -> int:
    """The smallest quorum that meets every other quorum of its size."""
    check_quorum(n)
    return n // 2 + 1


def overlaps(n: int, r: int, w: int) -> bool:
    """Whether each set of r replicas shares a member with each set of w: R + W > N."""
    check_quorum(n, r, w)
    return r + w > n


def availability(n: int, quorum: int, up: float) -> float:
    """The probability that at least `quorum` of n replicas are up.

    Sum over k >= quorum of C(n, k) up^k (1 - up)^(n - k); with quorum = majority(n) the
    availability of a consensus group. Raises QuorumError for an impossible quorum or probability.
    """
    check_quorum(n, quorum)
    _check_probability(up)
    terms = (math.comb(n, k) * up**k * (1 - up) ** (n - k) for k in range(quorum, n + 1))
    return min(1.0, math.fsum(terms))


def weighted_availability(votes: Sequence[int], quorum: int, up: Sequence[float]) -> float:
    """The probability that the replicas which are up hold at least `quorum` votes.

    Replica i has votes[i] votes and is up with probability up[i] (Gifford, "Weighted Voting for
    Replicated Data", SOSP 1979). One vote each and equal probabilities give `availability`.
    """
    if not votes or len(votes) != len(up):
        raise QuorumError(
            f"Each replica needs votes and a probability; got {len(votes)} and {len(up)}."
        )
    if any(isinstance(v, bool) or not isinstance(v, int) or not 0 <= v <= 1000 for v in votes):
        raise QuorumError(f"Votes are whole numbers from 0 to 1,000, not {list(votes)!r:.60}.")
    if not 1 <= quorum <= sum(votes):
        raise QuorumError(f"A quorum of {sum(votes)} votes has 1 to {sum(votes)}, not {quorum!r}.")
    # chance[v]: the probability that the replicas seen so far hold v votes.
    chance = [1.0] + [0.0] * sum(votes)
    for vote, p in zip(votes, up):
        _check_probability(p)
        chance = [
            (1 - p) * down + (p * chance[total - vote] if total >= vote else 0.0)
            for total, down in enumerate(chance)
        ]
    return min(1.0, math.fsum(chance[quorum:]))


def choices(n: int, up: float) -> list[Availability]:
    """Every R and W of n replicas, with the availability of reads and of writes."""
    reached = [availability(n, quorum, up) for quorum in range(1, n + 1)]
    return [
        Availability(n, r, w, reached[r - 1], reached[w - 1])
        for r in range(1, n + 1)
        for w in range(1, n + 1)
    ]


def downtime_minutes(share_up: float, *, days: float = 365.0) -> float:
    """Minutes without service in so many days: what a number of nines means."""
    _check_probability(share_up)
    return (1 - share_up) * days * 24 * 60


def _check_probability(p: float) -> None:
    if not 0 <= p <= 1:
        raise QuorumError(f"A probability lies between 0 and 1, not {p!r}.")
