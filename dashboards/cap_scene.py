"""The scene of the page *CAP trade-offs*: its fields in the address, and the engine's scene.

What a scene does is for `mlsys.cap`; what the page says of it, for `cap_story.py`.
"""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

from dashboards import address
from mlsys.cap import PRESETS, READS, Fault, Heal, OneWay, Partition, Scene, Slow, preset

NODES, DURATION = 5, 6_000
STORES = {
    "async": "One leader, async copies",
    "sync": "One leader, sync majority",
    "raft": "Raft",
    "quorum": "Dynamo-style quorum (N, R, W)",
    "chain": "Chain replication",
    "2pc": "Two-phase commit",
}
OTHERS = {"nothing": "nothing"} | STORES
SCENES = {name: name.capitalize() for name in PRESETS}
WHOLE = ("healthy", "cross-continent")  # scenes that break nothing by themselves
NAMES = {str(node): str(node) for node in range(NODES)}
LINKS = {f"{a}{b}": f"{a}→{b}" for a in range(NODES) for b in range(NODES) if a != b}
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
    address.several("cut", NAMES),
    address.several(
        "links",
        LINKS,
        told=f"the directed links, such as 01 and 40: two different nodes from 0 to {NODES - 1}",
    ),
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
            return f"Quorum N={self.n} R={self.r} W={self.w}"
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
    if len(values["cut"]) == NODES and values["scene"] != "slow replica":
        changed.append("cut = all nodes leaves no side to cut them off from: none is cut off.")
        values["cut"] = []
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
    if fault(values) is None:
        changes["faults"] = ()
    elif chosen := _chosen(begin, values):
        changes["faults"] = (*chosen, Heal(end))
    return preset(
        values["scene"],
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


def _chosen(begin: float, values: Mapping[str, object]) -> list[Fault]:
    """The nodes and links that the viewer chose, in place of what the scene would cut or slow."""
    nodes = tuple(sorted(map(int, values["cut"])))
    rest = tuple(node for node in range(NODES) if node not in nodes)
    made: list[Fault] = []
    if values["scene"] == "slow replica" and (nodes or values["links"]):
        made += [Slow(begin, node, 40.0) for node in nodes or rest[-1:]]
    elif nodes and values["scene"] == "asymmetric":
        made.append(OneWay(begin, nodes, rest))
    elif nodes:
        made.append(Partition(begin, (nodes, rest)))
    targets: dict[int, list[int]] = {}
    for source, target in sorted(values["links"]):
        targets.setdefault(int(source), []).append(int(target))
    return made + [OneWay(begin, (source,), tuple(to)) for source, to in targets.items()]


def breaks(values: Mapping[str, object]) -> bool:
    """Whether the scene, or what the viewer chose, breaks anything at all."""
    return bool(values["scene"] not in WHOLE or values["cut"] or values["links"])


def acts(values: Mapping[str, object]) -> str:
    """What happens in this scene to the nodes that the viewer chooses: the control's name."""
    done = {"slow replica": "slowed", "asymmetric": "that nobody hears"}
    return f"Nodes {done.get(values['scene'], 'cut off')}"


def fault(values: Mapping[str, object]) -> tuple[float, float] | None:
    """From when to when something is broken in this scene, in ms; None when nothing is."""
    begin, end = map(float, values["fault"])
    return (begin, end) if breaks(values) and begin < end else None
