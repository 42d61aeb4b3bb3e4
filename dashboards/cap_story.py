"""What a run of the page *CAP trade-offs* means, in words and rows; the figures draw the rest."""

from dataclasses import dataclass

from mlsys import cap

STEPS = 100_000
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
    names = [("nodes " if len(side) > 1 else "node ") + " ".join(map(str, side)) for side in parted]
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


def headline(result: Result) -> str:
    """One sentence: was it right, and what did that cost?"""
    return f"{_rightness(result)}; {_price(result)}."


def _rightness(result: Result) -> str:
    if result.verdict.linearizable is None:
        return "Right or wrong could not be settled within the budget"
    if not result.danger:
        return "Consistent: every answer fits one single copy"
    reads, wrong = len(result.ages), []
    if result.stale:
        wrong.append(f"{result.stale} of {reads} reads were stale")
    if result.lost:
        wrong.append(f"{result.lost} acknowledged writes were lost")
    if result.verdict.linearizable:
        return "Inconsistent in the end: " + " and ".join(wrong)
    return "Inconsistent: " + (" and ".join(wrong) or "reads contradict each other")


def _price(result: Result) -> str:
    during = [(side, share) for phase, side, share in result.shares if phase == "during"]
    if not during:
        return "all of the time " + _answered([row[2] for row in result.shares])
    if len(during) == 1:
        return "during the fault " + _answered([during[0][1]])
    if all(share.share >= 0.95 for _, share in during):
        return "both sides kept answering during the fault"
    told = " and ".join(f"{side} answered {share.share:.0%}" for side, share in during)
    return f"during the fault {told}"


def _answered(shares: list[cap.Availability]) -> str:
    asked = sum(share.asked for share in shares)
    answered = sum(share.answered for share in shares)
    return f"{answered / asked:.0%} of requests were answered" if asked else "nobody asked anything"


def picture(instant: cap.Instant) -> str:
    """The cluster at an instant, for those who cannot see it."""
    leaders = " and ".join(map(str, instant.leaders)) or "nobody"
    sides = "; ".join(" ".join(map(str, side)) for side in instant.sides)
    tells = ", ".join(f"{node}: {value}" for node, value in enumerate(instant.values))
    return f"At {instant.time:.0f} ms {leaders} leads. Groups: {sides}. Nodes tell {tells}."


def percentiles(result: Result) -> str:
    """Latency percentiles in words."""
    return "; ".join(
        f"{name}: " + ", ".join(f"p{rank:g} {ms:.3g} ms" for rank, ms in found.items())
        for name, found in result.latencies
    )
