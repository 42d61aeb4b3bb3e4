"""What a run of the page *CAP trade-offs* means, in words and rows; the figures draw the rest."""

from dataclasses import dataclass

from mlsys import cap

# A hundred times what the hardest scene of the page takes, and still under a second.
STEPS = 300_000
EDGES = (0, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000)


@dataclass(frozen=True)
class Result:
    """A run, judged and measured once."""

    run: cap.Run
    fault: tuple[float, float] | None
    verdict: cap.Verdict
    ages: list[cap.ReadAge]
    lost: int
    shares: list[tuple[str, str, cap.Availability]]
    latencies: list[tuple[str, dict[float, float]]]

    @property
    def stale(self) -> int:
        """How many reads were certainly out of date."""
        return sum(age.stale for age in self.ages)

    @property
    def danger(self) -> bool:
        """Whether a client was told something wrong."""
        return self.verdict.linearizable is False or self.lost > 0

    @property
    def visibility(self) -> list[tuple[float, int, float]]:
        """Freshness by time since the last write."""
        return cap.visibility(self.ages, EDGES)


def play(scene: cap.Scene, fault: tuple[float, float] | None) -> Result:
    """Run the scene, check its history and measure it."""
    played = cap.run(scene)
    return Result(
        run=played,
        fault=fault,
        verdict=cap.check(played.history, steps=STEPS),
        ages=cap.read_ages(played.history),
        lost=len(cap.lost(played)),
        shares=_shares(played, fault),
        latencies=[
            (name, cap.percentiles(played.history, f, (50, 90, 99)))
            for name, f in (("reads", "read"), ("writes", "write"))
        ],
    )


def _shares(
    played: cap.Run, fault: tuple[float, float] | None
) -> list[tuple[str, str, cap.Availability]]:
    clients, end = played.scene.clients, played.scene.duration_ms
    if fault is None:
        whole = cap.availability(played.history).get(None)
        return [("whole run", "all clients", whole)] if whole else []
    parted = played.at(sum(fault) / 2).sides
    names = [f"node{'s' * (len(side) > 1)} {', '.join(map(str, side))}" for side in parted]
    if len(names) == 1:
        names = ["all clients"]
    sides = played.side_of(sum(fault) / 2)
    groups = {client: names[side] for client, side in sides.items()}
    rows = []
    for phase, begin, stop in (
        ("before", 0.0, fault[0]), ("during", *fault), ("after", fault[1], end)
    ):  # fmt: skip
        found = cap.availability(played.history, groups, clients=clients, begin=begin, end=stop)
        rows += [(phase, side, found[side]) for side in names if side in found]
    return rows


def rightness(result: Result) -> str:
    """The page's first sentence: was every answer right?"""
    if result.verdict.linearizable is None:
        return "Right or wrong could not be settled within the budget."
    if not result.danger and not len(cap.latencies(result.run.history, "write")):
        return "Consistent, for no write was ever acknowledged."
    if not result.danger:
        return "Consistent: every answer fits one single copy."
    wrong = []
    if result.stale:
        wrong.append(f"{result.stale} of {len(result.ages)} reads were stale")
    if result.lost:
        wrong.append(f"{result.lost} acknowledged writes were lost")
    when = "Inconsistent in the end: " if result.verdict.linearizable else "Inconsistent: "
    return when + (" and ".join(wrong) or "reads contradict each other") + "."


def price(result: Result) -> str:
    """The page's second sentence: who got answers meanwhile?"""
    during = [(side, share) for phase, side, share in result.shares if phase == "during"]
    if not during:
        return "Of all requests " + _answered([row[2] for row in result.shares])
    if len(during) == 1:
        return "Of the requests during the fault " + _answered([during[0][1]])
    low, high = (f(during, key=lambda row: row[1].share) for f in (min, max))
    if low[1].share >= 0.95:
        return "Every side kept answering during the fault."
    if len(during) == 2:
        return "During the fault " + " and ".join(map(_side, *zip(*during))) + " of requests."
    return (
        f"During the fault there were {len(during)} sides: {_side(*low)} of requests, "
        f"{_side(*high)}."
    )


def _side(name: str, share: cap.Availability) -> str:
    return f"{name} answered {share.share:.0%}"


def _answered(shares: list[cap.Availability]) -> str:
    asked = sum(share.asked for share in shares)
    answered = sum(share.answered for share in shares)
    return f"{answered / asked:.0%} were answered." if asked else "nobody asked anything."


def picture(instant: cap.Instant) -> str:
    """The cluster at an instant, for those who cannot see it."""
    leaders = " and ".join(map(str, instant.leaders)) or "nobody"
    tells = ", ".join(f"{node}: {value}" for node, value in enumerate(instant.values))
    cut = set(instant.cut)
    ways = [f"from {a} at {b}" for a, b in sorted(cut) if (b, a) not in cut]
    ways += [f"between {a} and {b}" for a, b in sorted(cut) if a < b and (b, a) in cut]
    arrives = f"Nothing arrives {', nor '.join(ways)}." if ways else "All messages arrive."
    slow = f" Slow: {', '.join(map(str, instant.slow))}." if instant.slow else ""
    return f"At {instant.time:.0f} ms {leaders} leads. {arrives}{slow} Nodes tell {tells}."


def percentiles(result: Result) -> str:
    """Latency percentiles in words."""
    return "; ".join(
        f"{name}: " + ", ".join(f"p{rank:g} {ms:.3g} ms" for rank, ms in found.items())
        for name, found in result.latencies
    )
