"""The scene of the page *CAP trade-offs*: its fields in the address, and the engine's scene.

What a scene does is for `mlsys.cap`; what the page says of it, for `cap_story.py`.
"""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

from dashboards import address
from mlsys.cap import PRESETS, READS, Heal, OneWay, Partition, Scene, Slow, preset

NODES, DURATION = 5, 6_000
STORES = {
    "async": "One leader, asynchronous copies",
    "sync": "One leader, waits for a majority",
    "raft": "Raft",
    "quorum": "Dynamo-style quorum (N, R, W)",
    "chain": "Chain replication",
    "2pc": "Two-phase commit",
}
LATENCIES = {
    "preset": "the scene's own",
    "lan": "one data centre, mean 1 ms",
    "lnkd-ssd": "LinkedIn, SSD",
    "lnkd-disk": "LinkedIn, disk",
    "ymmr": "Yammer's Riak",
    "wan": "across a continent, 75 ms",
}
_WAYS = list(dict.fromkeys(("default", *(way for ways in READS.values() for way in ways))))

FIELDS = (
    address.choice("store", "async", STORES),
    address.choice("scene", "split brain", PRESETS),
    address.span("fault", (2_000, 4_000), 0, DURATION),
    address.several("cut", [], map(str, range(NODES))),
    address.whole("n", 3, 1, NODES),
    address.whole("r", 1, 1, NODES),
    address.whole("w", 1, 1, NODES),
    address.choice("reads", "default", _WAYS),
    address.choice("latency", "preset", LATENCIES),
    address.whole("seed", 0, 0, 999),
    address.whole("at", 3_000, 0, DURATION),
    address.choice("other", "nothing", ("nothing", *STORES)),
    address.whole("n2", 3, 1, NODES),
    address.whole("r2", 2, 1, NODES),
    address.whole("w2", 2, 1, NODES),
)


@dataclass(frozen=True)
class Choice:
    """What one side of the page shows: a store and how its quorums are set."""

    store: str
    n: int
    r: int
    w: int
    reads: str

    @property
    def name(self) -> str:
        """As a heading."""
        if self.store == "quorum":
            return f"Quorum, N = {self.n}, R = {self.r}, W = {self.w}"
        return STORES[self.store] + (f", {self.reads} reads" if self.reads != "default" else "")


def mend(values: MutableMapping[str, object]) -> list[str]:
    """Bring values into line that cannot stand together; a sentence for each change."""
    changed = []
    for n, names in (("n", "rw"), ("n2", ("r2", "w2"))):
        for name in names:
            if values[name] > values[n]:
                changed.append(
                    f"{name} = {values[name]} is more than {n} = {values[n]}: {values[n]} is used."
                )
                values[name] = values[n]
    if values["reads"] not in ("default", *READS[values["store"]]):
        changed.append(
            f"The store {values['store']} has no {values['reads']} reads: its own way is used."
        )
        values["reads"] = "default"
    return changed


def choices(values: Mapping[str, object]) -> list[Choice]:
    """The one or two settings that the page compares."""
    first = Choice(*(values[name] for name in ("store", "n", "r", "w", "reads")))
    if values["other"] == "nothing":
        return [first]
    return [first, Choice(*(values[name] for name in ("other", "n2", "r2", "w2")), "default")]


def scene(choice: Choice, values: Mapping[str, object]) -> Scene:
    """The engine's scene for one setting of the page."""
    begin, end = map(float, values["fault"])
    name, cut = values["scene"], tuple(sorted(map(int, values["cut"])))
    changes: dict[str, object] = {}
    if values["latency"] != "preset":
        if values["latency"] in ("wan", "ymmr"):  # a leader must not be deposed for its distance
            far = preset("cross-continent", nodes=NODES)
            changes = {
                field: getattr(far, field)
                for field in ("timeout_ms", "heartbeat_ms", "election_low_ms", "election_high_ms",
                              "hint_ms")
            }  # fmt: skip
        changes["latency"] = values["latency"]
    if begin == end:
        name = name if name == "cross-continent" else "healthy"
    rest = tuple(node for node in range(NODES) if node not in cut)
    if cut and rest and name in ("split brain", "asymmetric", "slow replica"):
        made = {
            "split brain": (Partition(begin, (cut, rest)),),
            "asymmetric": (OneWay(begin, cut, rest),),
            "slow replica": tuple(Slow(begin, node, 40.0) for node in cut),
        }[name]
        changes["faults"] = (*made, Heal(end))
    return preset(
        name,
        begin_ms=begin,
        end_ms=end,
        nodes=NODES,
        store=choice.store,
        n=choice.n,
        r=choice.r,
        w=choice.w,
        reads="" if choice.reads == "default" else choice.reads,
        duration_ms=float(DURATION),
        settle_ms=1_500.0,
        think_ms=100.0,
        seed=values["seed"],
        **changes,
    )


def fault(values: Mapping[str, object]) -> tuple[float, float] | None:
    """From when to when something is broken in this scene, in ms; None when nothing is."""
    begin, end = map(float, values["fault"])
    broken = values["scene"] not in ("healthy", "cross-continent") and begin < end
    return (begin, end) if broken else None
