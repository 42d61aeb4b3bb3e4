"""What goes wrong, when: a schedule of faults as values, and as short text for an address.

Each fault has `at`, ms since the start of the run. Faults last until a `Heal` (links, slow nodes)
or a `Restart`; the run itself heals everything when the load ends, so that what remains wrong
after that is the store's doing. How a fault acts on a cluster is `mlsys.cap.cluster`'s business.

As text a fault is `name@at:arguments`, and a schedule is these joined by `;`:
`partition@2000:0.1|2.3.4;heal@6000`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields


class FaultError(ValueError):
    """A fault that cannot be read; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Partition:
    """Cut every link between different groups, both ways; a node in no group keeps its links."""

    at: float
    groups: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class OneWay:
    """Drop what `sources` send to `targets`; what the targets send still arrives."""

    at: float
    sources: tuple[int, ...]
    targets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class IsolateLeader:
    """Cut off whoever leads at that moment (node 0 where nobody leads), both ways."""

    at: float


@dataclass(frozen=True, slots=True)
class Crash:
    """The node stops; messages to it are lost, and so is all that it held in memory."""

    at: float
    node: int


@dataclass(frozen=True, slots=True)
class Restart:
    """The node comes back, with the disk it had or with an empty one."""

    at: float
    node: int
    disk: bool = True


@dataclass(frozen=True, slots=True)
class Slow:
    """Every message from or to the node takes `factor` times as long."""

    at: float
    node: int
    factor: float


@dataclass(frozen=True, slots=True)
class Skew:
    """The node's clock jumps by `ms` and from then on runs at `rate` (1 is right)."""

    at: float
    node: int
    ms: float = 0.0
    rate: float = 1.0


@dataclass(frozen=True, slots=True)
class Heal:
    """All links are whole again and no node is slow; crashed nodes stay down."""

    at: float


Fault = Partition | OneWay | IsolateLeader | Crash | Restart | Slow | Skew | Heal

_NAMES: dict[str, type] = {
    "partition": Partition,
    "oneway": OneWay,
    "isolate-leader": IsolateLeader,
    "crash": Crash,
    "restart": Restart,
    "slow": Slow,
    "skew": Skew,
    "heal": Heal,
}
_NODES = re.compile(r"\d{1,2}(\.\d{1,2})*", re.ASCII)
_NUMBER = re.compile(r"-?\d{1,7}(\.\d{1,6})?(e-?\d{1,2})?", re.ASCII)


def to_text(faults: Sequence[Fault]) -> str:
    """The schedule in one line; `from_text` reads it back to equal faults."""
    return ";".join(_one_to_text(fault) for fault in faults)


def _one_to_text(fault: Fault) -> str:
    name = next(name for name, kind in _NAMES.items() if type(fault) is kind)
    match fault:
        case Partition(_, groups):
            rest = "|".join(map(_nodes, groups))
        case OneWay(_, sources, targets):
            rest = f"{_nodes(sources)}|{_nodes(targets)}"
        case Crash(_, node):
            rest = str(node)
        case Restart(_, node, disk):
            rest = f"{node},{'disk' if disk else 'empty'}"
        case Slow(_, node, factor):
            rest = f"{node},{_number(factor)}"
        case Skew(_, node, ms, rate):
            rest = f"{node},{_number(ms)},{_number(rate)}"
        case _:
            rest = ""
    return f"{name}@{_number(fault.at)}" + (f":{rest}" if rest else "")


def _nodes(nodes: Sequence[int]) -> str:
    return ".".join(map(str, nodes))


def _number(value: float) -> str:
    text = repr(float(value))
    return text.removesuffix(".0")


def from_text(text: str) -> tuple[Fault, ...]:
    """Read a schedule. Raises FaultError with the part that makes no sense."""
    return tuple(_one_from_text(part.strip()) for part in text.split(";") if part.strip())


def _one_from_text(part: str) -> Fault:
    head, _, rest = part.partition(":")
    name, _, at = head.partition("@")
    if name not in _NAMES or not _NUMBER.fullmatch(at):
        raise FaultError(
            f"The fault {part[:40]!r} cannot be read; write it like crash@2000:1 with one of "
            f"{', '.join(_NAMES)}."
        )
    kind = _NAMES[name]
    try:
        return kind(float(at), *_arguments(kind, rest))
    except (ValueError, TypeError):
        wanted = ", ".join(field.name for field in fields(kind)[1:]) or "nothing"
        raise FaultError(
            f"The fault {part[:40]!r} does not fit: after the colon {name} takes {wanted}."
        ) from None


def _arguments(kind: type, rest: str) -> tuple:
    if kind in (Partition, OneWay):
        groups = tuple(_read_nodes(group) for group in rest.split("|"))
        if len(groups) < 2:
            raise ValueError
        return (groups,) if kind is Partition else groups
    if kind is Restart:
        node, _, disk = rest.partition(",")
        if disk not in ("", "disk", "empty"):
            raise ValueError
        return int(_read(node)), disk != "empty"
    numbers = [_read(number) for number in rest.split(",")] if rest else []
    return tuple(int(n) if i == 0 else n for i, n in enumerate(numbers))


def _read_nodes(text: str) -> tuple[int, ...]:
    if not _NODES.fullmatch(text):
        raise ValueError
    return tuple(int(node) for node in text.split("."))


def _read(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise ValueError
    return float(text)


def nodes_of(fault: Fault) -> tuple[int, ...]:
    """Every node that the fault names."""
    match fault:
        case Partition(_, groups):
            return tuple(node for group in groups for node in group)
        case OneWay(_, sources, targets):
            return (*sources, *targets)
        case Crash() | Restart() | Slow() | Skew():
            return (fault.node,)
    return ()
