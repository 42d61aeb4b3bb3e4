"""A scene: everything that one run depends on, as one frozen value, and the presets of the page.

Two equal scenes give the same history byte for byte. A scene goes into an address and comes back
(`to_query`, `from_query`); whatever an address holds, it gives a scene or one clear sentence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace

from mlsys.cap import faults as fault
from mlsys.cap.faults import Crash, Fault, Heal, IsolateLeader, OneWay, Partition, Slow
from mlsys.cap.latency import LatencyError, profile

# Ways to read, the default first; what each means is said in the store's own module.
READS: dict[str, tuple[str, ...]] = {
    "async": ("local", "leader"),
    "sync": ("leader", "local"),
    "raft": ("log", "lease", "local"),
    "quorum": ("quorum",),
    "chain": ("tail", "local"),
    "2pc": ("local",),
}
CONFLICTS = ("lww", "vector", "g-counter", "pn-counter", "or-set")
_CHOICES = {
    "store": tuple(READS),
    "conflict": CONFLICTS,
    "loop": ("closed", "open"),
    "workload": ("register", "append"),
}
_BOUNDS: dict[str, tuple[float, float]] = {
    "nodes": (1, 15),
    "n": (1, 15),
    "r": (1, 15),
    "w": (1, 15),
    "clients": (1, 100),
    "keys": (1, 1000),
    "read_share": (0, 1),
    "cas_share": (0, 1),
    "loss": (0, 0.9),
    "think_ms": (0, 60_000),
    "rate": (0.001, 10_000),
    "timeout_ms": (1, 60_000),
    "gossip_ms": (0, 60_000),
    "handoff_ms": (5, 60_000),
    "hint_ms": (0.1, 60_000),
    "heartbeat_ms": (2, 60_000),
    "election_low_ms": (5, 60_000),
    "election_high_ms": (5, 60_000),
    "duration_ms": (1, 3_600_000),
    "settle_ms": (0, 600_000),
    "operations": (1, 10_000_000),
    "keep_messages": (0, 200_000),
    "seed": (0, 2**63 - 1),
}
# What an address may ask of a server: each is far more than a page can show.
_ADDRESS_BOUNDS: dict[str, float] = {
    "duration_ms": 120_000, "settle_ms": 30_000, "operations": 50_000, "keep_messages": 20_000,
    "clients": 32, "keys": 50,
}  # fmt: skip
_MAX_FAULTS = 64


class SceneError(ValueError):
    """A scene that cannot be run; the message is one sentence for a viewer."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One experiment. Times are ms, shares lie in 0..1, nodes are numbered from 0.

    `n`, `r`, `w`, `conflict`, `sloppy`, `hint_ms`, `handoff_ms`, `read_repair`, `gossip_ms` (0:
    none) are the quorum store's; `heartbeat_ms` and the election range are of the stores with a
    leader. `reads` is one of `READS[store]`, empty for the first. `sites` says at which node each
    client sits, empty for round robin. `zones` says which nodes are near each other, empty for
    each at its own place. A closed loop waits `think_ms` (mean) after each answer; an open loop
    asks `rate` times a second and client whether answered or not.
    """

    store: str = "quorum"
    nodes: int = 3
    n: int = 3
    r: int = 2
    w: int = 2
    conflict: str = "lww"
    sloppy: bool = False
    read_repair: bool = True
    gossip_ms: float = 0.0
    hint_ms: float = 25.0
    handoff_ms: float = 100.0
    reads: str = ""
    heartbeat_ms: float = 50.0
    election_low_ms: float = 150.0
    election_high_ms: float = 300.0
    latency: str = "lan"
    zones: tuple[int, ...] = ()
    loss: float = 0.0
    clients: int = 6
    sites: tuple[int, ...] = ()
    loop: str = "closed"
    think_ms: float = 20.0
    rate: float = 50.0
    workload: str = "register"
    read_share: float = 0.5
    cas_share: float = 0.0
    keys: int = 1
    timeout_ms: float = 500.0
    duration_ms: float = 10_000.0
    settle_ms: float = 3_000.0
    operations: int = 20_000
    keep_messages: int = 4_000
    faults: tuple[Fault, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                _refuse(name, getattr(self, name), f"one of {', '.join(choices)}")
        for name, (low, high) in _BOUNDS.items():
            value = getattr(self, name)
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not (is_number and low <= value <= high):
                _refuse(name, value, f"a number from {low:g} to {high:g}")
            if _KINDS[name] is int and not isinstance(value, int):
                _refuse(name, value, "a whole number")
        self._check_together()

    def _check_together(self) -> None:
        if self.reads not in ("", *READS[self.store]):
            _refuse("reads", self.reads, f"one of {', '.join(READS[self.store])} for {self.store}")
        if self.store == "quorum":
            if self.n > self.nodes:
                _refuse("n", self.n, f"at most the {self.nodes} nodes there are")
            for name in ("r", "w"):
                if getattr(self, name) > self.n:
                    _refuse(name, getattr(self, name), f"at most n = {self.n}")
        elif self.conflict != "lww":
            _refuse("conflict", self.conflict, f"lww unless the store is quorum, not {self.store}")
        if self.workload == "append" and self.store == "quorum":
            _refuse("workload", self.workload, "register for the quorum store (or use an or-set)")
        if self.read_share + self.cas_share > 1:
            _refuse("cas_share", self.cas_share, "at most 1 - read_share")
        if self.cas_share and (self.workload != "register" or self.conflict != "lww"):
            _refuse("cas_share", self.cas_share, "0 unless the data are plain registers")
        if self.election_low_ms > self.election_high_ms:
            _refuse("election_low_ms", self.election_low_ms, "at most election_high_ms")
        if self.zones and len(self.zones) != self.nodes:
            _refuse("zones", self.zones, f"empty or one zone for each of the {self.nodes} nodes")
        if any(not 0 <= node < self.nodes for node in self.sites):
            _refuse("sites", self.sites, f"node numbers from 0 to {self.nodes - 1}")
        if len(self.sites) > self.clients:
            _refuse("sites", self.sites, f"no more than the {self.clients} clients")
        try:
            profile(self.latency)
        except LatencyError as error:
            raise SceneError(str(error)) from None
        self._check_faults()

    def _check_faults(self) -> None:
        if len(self.faults) > _MAX_FAULTS:
            raise SceneError(f"A scene takes at most {_MAX_FAULTS} faults, not {len(self.faults)}.")
        for one in self.faults:
            text = fault.to_text([one])
            if not 0 <= one.at <= 3_600_000:
                raise SceneError(f"The fault {text!r} must happen between 0 and 3600000 ms.")
            named = fault.nodes_of(one)
            if any(not 0 <= node < self.nodes for node in named):
                raise SceneError(
                    f"The fault {text!r} names a node that is not there: nodes are 0 to "
                    f"{self.nodes - 1}."
                )
            if isinstance(one, Partition) and len(set(named)) < len(named):
                raise SceneError(f"The fault {text!r} has a node in two groups at once.")
            if isinstance(one, Slow) and not 0.01 <= one.factor <= 10_000:
                raise SceneError(f"The fault {text!r} needs a factor from 0.01 to 10000.")
            if isinstance(one, fault.Skew) and not (0.001 <= one.rate <= 1000):
                raise SceneError(f"The fault {text!r} needs a clock rate from 0.001 to 1000.")

    @property
    def how_to_read(self) -> str:
        """`reads`, or the store's default."""
        return self.reads or READS[self.store][0]

    def site(self, client: int) -> int:
        """The node that this client sits at."""
        return self.sites[client % len(self.sites)] if self.sites else client % self.nodes

    def to_query(self) -> dict[str, str]:
        """What differs from the default scene, as text for an address."""
        query = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if value != item.default:
                query[item.name] = _to_text(value)
        return query

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Scene:
        """The scene of an address; what is not named has its default.

        Raises SceneError with one sentence for an unknown name, a value that is no such thing, or
        a run that is too large for a page.
        """
        given = {}
        for name, text in query.items():
            if name not in _KINDS:
                raise SceneError(f"A scene has nothing called {str(name)[:40]!r}.")
            if not isinstance(text, str) or len(text) > 4000:
                raise SceneError(f"The value of {name} must be a text of at most 4000 characters.")
            given[name] = _from_text(name, text)
        scene = cls(**given)
        for name, most in _ADDRESS_BOUNDS.items():
            if getattr(scene, name) > most:
                _refuse(name, getattr(scene, name), f"at most {most:g} in an address")
        return scene


_KINDS: dict[str, type] = {
    item.name: tuple if item.default == () else type(item.default) for item in fields(Scene)
}
assert all(item.default is not MISSING for item in fields(Scene))


def _refuse(name: str, value: object, wanted: str) -> None:
    raise SceneError(f"The scene's {name} is {str(value)[:40]!r}; it must be {wanted}.")


def _to_text(value: object) -> str:
    if isinstance(value, tuple):
        if value and not isinstance(value[0], int):
            return fault.to_text(value)
        return ".".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _from_text(name: str, text: str) -> object:
    kind = _KINDS[name]
    if name == "faults":
        try:
            return fault.from_text(text)
        except fault.FaultError as error:
            raise SceneError(str(error)) from None
    if kind is str:
        return text
    if kind is bool:
        if text not in ("yes", "no"):
            _refuse(name, text, "yes or no")
        return text == "yes"
    try:
        if not text.isascii() or len(text) > 60:
            raise ValueError
        if kind is tuple:
            return tuple(int(part) for part in text.split(".")) if text else ()
        number = kind(text)
        if not math.isfinite(number):
            raise ValueError
        return number
    except ValueError:
        _refuse(name, text, "whole numbers joined by dots" if kind is tuple else "a number")


def _presets(nodes: int, begin: float, end: float) -> dict[str, dict]:
    few = tuple(range((nodes - 1) // 2))
    many = tuple(range(len(few), nodes))
    return {
        "healthy": {},
        "isolated leader": {"faults": (IsolateLeader(begin), Heal(end))},
        "split brain": {"faults": (Partition(begin, (few, many)), Heal(end))},
        "asymmetric": {"faults": (OneWay(begin, (0,), tuple(range(1, nodes))), Heal(end))},
        "slow replica": {"faults": (Slow(begin, nodes - 1, 40.0), Heal(end))},
        "cross-continent": {
            "latency": "wan",
            "timeout_ms": 2_000.0,
            "heartbeat_ms": 250.0,
            "election_low_ms": 1_000.0,
            "election_high_ms": 2_000.0,
            "hint_ms": 400.0,
        },
    }


PRESETS = tuple(_presets(3, 0.0, 1.0))


def preset(
    name: str, *, begin_ms: float = 3_000.0, end_ms: float = 6_000.0, **changes: object
) -> Scene:
    """The scene called `name`; its fault lasts from `begin_ms` to `end_ms`, `changes` win.

    Five nodes unless `nodes` is given; in "split brain" the smaller side holds node 0, who leads
    first. Raises SceneError for an unknown name.
    """
    nodes = changes.setdefault("nodes", 5)
    _check_preset(name, nodes)
    return replace(Scene(nodes=nodes), **{**_presets(nodes, begin_ms, end_ms)[name], **changes})


def _check_preset(name: str, nodes: object) -> None:
    if name not in PRESETS:
        raise SceneError(
            f"There is no preset called {str(name)[:40]!r}; choose one of {', '.join(PRESETS)}."
        )
    if not isinstance(nodes, int) or nodes < 3:
        _refuse("nodes", nodes, "at least 3 for a preset")


__all__ = ["CONFLICTS", "PRESETS", "READS", "Crash", "Scene", "SceneError", "preset"]
