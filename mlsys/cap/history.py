"""Histories: what clients asked of a store and what they were told, in Jepsen's form.

An `Event` is one line of a history, a `History` the events in order, an `Operation` an invocation
joined to its outcome. Histories go out and come in as EDN (one map a line, as Jepsen writes and
Porcupine reads), as JSON, and come in from the console logs of Jepsen's etcd test. Whether a
history is right is for `checker.py` and `consistency.py` to say.

What the four types mean (Kingsbury, Jepsen's documentation): `invoke`, a client asks; `ok`, it was
done; `fail`, it was certainly not done; `info`, nobody knows, so it may take effect at any later
time or never. One case of `fail` tells more: a compare-and-set that was refused because it *saw*
another value carries the note "mismatch" and counts as an observation.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from mlsys.cap import edn

TYPES = ("invoke", "ok", "fail", "info")
MISMATCH = "mismatch"
MAX_EVENTS = 2_000_000
_TOO_DEEP = "The JSON is nested too deep or holds too long a number."
# Porcupine's key-value logs say get and put where Jepsen says read and write.
_SYNONYMS = {"get": "read", "put": "write"}
_KEYWORD = re.compile(r"[A-Za-z*!_?<>=][\w.*+!?<>=-]*\Z", re.ASCII)


class HistoryError(ValueError):
    """A history that cannot be read or makes no sense; `line` is where, when that is known."""

    def __init__(self, message: str, line: int | None = None):
        super().__init__(message)
        self.line = line


def milliseconds(time: float) -> str:
    """A time for a sentence: to a hundredth of a millisecond, without idle zeros."""
    return f"{time:.2f}".rstrip("0").rstrip(".")


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a history.

    `time` is in ms since the start of the run; EDN keeps it to the nanosecond, Jepsen's unit.
    `value`: of a read None when invoked and what was read when ok; of a write the value; of a
    compare-and-set (old, new); of an append the element. `note` says why (an error, "mismatch").
    """

    time: float
    process: int
    type: str
    f: str
    key: str | None
    value: object
    note: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """An invocation and its outcome; times in ms.

    `status` is "ok" or "info"; one that certainly failed is none, except a compare-and-set that
    saw another value: its `result` is False. `end` is infinite when nobody knows the outcome.
    `index` and `returned` are the places of its events in the history (`returned` is -1 for
    info): they, not the times, say what came before what.
    """

    process: int
    f: str
    key: str | None
    argument: object
    result: object
    start: float
    end: float
    status: str
    index: int
    returned: int = -1

    def __str__(self) -> str:
        start, end = milliseconds(self.start), milliseconds(self.end)
        span = f"{start}–{end} ms" if self.end < math.inf else f"from {start} ms"
        return f"process {self.process} {self.describe()} ({span})"

    def describe(self) -> str:
        """What was asked and answered: `read x → 3`, `write x ← 3`, `cas x 1 → 2 refused`."""
        name = f"{self.f} {self.key}" if self.key is not None else self.f
        if self.status == "info":
            shown = "" if self.argument is None else f" {self.argument!r}"
            return f"{name}{shown}, outcome unknown"
        if self.f == "read":
            return f"{name} → {self.result!r}"
        if self.f == "cas":
            old, new = self.argument if isinstance(self.argument, tuple) else (self.argument, "?")
            return f"{name} {old!r} → {new!r} {'refused' if self.result is False else 'done'}"
        return f"{name} ← {self.argument!r}"


@dataclass(frozen=True)
class History:
    """The events of one run, in order of time."""

    events: tuple[Event, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.events)

    def operations(self) -> list[Operation]:
        """Every operation that took or may have taken effect, in order of invocation.

        Raises HistoryError when a completion answers no invocation, or when a process asks again
        before it was answered.
        """
        return list(self._operations)

    @cached_property
    def _operations(self) -> tuple[Operation, ...]:
        return tuple(_pair(self.events))

    def keys(self) -> list[str | None]:
        """The keys in order of first use."""
        return list(dict.fromkeys(event.key for event in self.events))

    def to_edn(self) -> str:
        """One map a line, times in whole nanoseconds."""
        return "".join(_edn_line(event) + "\n" for event in self.events)

    @classmethod
    def from_edn(cls, text: str) -> History:
        """Read maps one after another, or one vector of maps; other processes than numbered
        clients (Jepsen's nemesis) are left out. Raises HistoryError naming the line."""
        events: list[Event] = []
        try:
            for line, form in edn.read_forms(text):
                for each in form if isinstance(form, tuple) else (form,):
                    event = _from_map(each, line, len(events))
                    if event is not None:
                        events.append(event)
                if len(events) > MAX_EVENTS:
                    raise HistoryError(
                        f"Line {line}: more than {MAX_EVENTS:,} events; cut the history.", line
                    )
        except edn.EdnError as error:
            raise HistoryError(str(error), error.line) from None
        return cls(tuple(events))

    def to_json(self) -> str:
        """`{"events": [...]}`, one event a line; a set is written as `{"set": [...]}`."""
        lines = ",\n".join(json.dumps(_json_event(event)) for event in self.events)
        return '{"events": [\n' + lines + "\n]}\n"

    @classmethod
    def from_json(cls, text: str) -> History:
        """The inverse of `to_json`. Raises HistoryError naming the line or the event."""
        if len(text) > edn.MAX_CHARACTERS:
            raise HistoryError(f"The text is over {edn.MAX_CHARACTERS:,} characters; cut it.")
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise HistoryError(f"Line {error.lineno}: {error.msg}.", error.lineno) from None
        except (RecursionError, ValueError):
            raise HistoryError(_TOO_DEEP) from None
        if not isinstance(data, dict) or not isinstance(data.get("events"), list):
            raise HistoryError('The JSON must be an object with a list named "events".')
        return cls(tuple(_from_json_event(item, n) for n, item in enumerate(data["events"], 1)))

    @classmethod
    def from_log(cls, text: str) -> History:
        """Read the console log of Jepsen's etcd test (`INFO  jepsen.util - 0 :invoke :write 3`).

        Such a log has no times: an event's time is its place, 1 ms apart. Lines that are not of
        a numbered client are left out; one of a client that cannot be read raises HistoryError.
        """
        events: list[Event] = []
        for number, line in enumerate(text.splitlines(), 1):
            found = _LOG_LINE.match(line)
            if found:
                events.append(_from_log_line(found, number, float(len(events))))
        return cls(tuple(events))

    @classmethod
    def from_text(cls, text: str) -> History:
        """Read any of the three, told apart by how the text begins. Raises HistoryError."""
        start = text.lstrip("\ufeff \t\r\n")
        if not start:
            raise HistoryError("The history is empty.")
        if re.match(r'\{\s*"', start):
            return cls.from_json(text.lstrip("\ufeff"))
        if re.search(r"^\w+\s+jepsen\S*\s+-", start[:100_000], re.MULTILINE):
            return cls.from_log(text)
        return cls.from_edn(text.lstrip("\ufeff"))


def _pair(events: Iterable[Event]) -> list[Operation]:
    waiting: dict[int, tuple[int, Event]] = {}
    done: list[Operation] = []
    for place, event in enumerate(events):
        if event.type == "invoke":
            if event.process in waiting:
                raise HistoryError(
                    f"Event {place + 1}: process {event.process} asks again before it was answered;"
                    " give each outstanding request a process of its own."
                )
            waiting[event.process] = (place, event)
            continue
        if event.process not in waiting:
            raise HistoryError(
                f"Event {place + 1}: process {event.process} is answered ({event.type}"
                f" {event.f}) but had asked nothing."
            )
        index, asked = waiting.pop(event.process)
        if event.type == "ok":
            done.append(_operation(asked, event, index, place))
        elif event.type == "info":
            done.append(_unknown(asked, index))
        elif event.f == "cas" and event.note == MISMATCH:
            done.append(_operation(asked, event, index, place, result=False))
    done.extend(_unknown(asked, index) for index, asked in waiting.values())
    done.sort(key=lambda operation: operation.index)
    return done


def _operation(asked: Event, answer: Event, index: int, place: int, **outcome) -> Operation:
    if asked.f == "read":
        outcome["result"] = answer.value
    return Operation(
        process=asked.process,
        f=asked.f,
        key=asked.key,
        argument=asked.value,
        result=outcome.get("result", True if asked.f == "cas" else None),
        start=asked.time,
        end=answer.time,
        status="ok",
        index=index,
        returned=place,
    )


def _unknown(asked: Event, index: int) -> Operation:
    return Operation(
        asked.process, asked.f, asked.key, asked.value, None, asked.time, math.inf, "info", index
    )


def _edn_line(event: Event) -> str:
    fields: dict[object, object] = {
        edn.Keyword("process"): event.process,
        edn.Keyword("type"): edn.Keyword(event.type),
        edn.Keyword("f"): edn.Keyword(event.f) if _KEYWORD.match(event.f) else event.f,
        edn.Keyword("key"): event.key,
        edn.Keyword("value"): event.value,
        edn.Keyword("time"): round(event.time * 1e6),
    }
    if event.note:
        fields[edn.Keyword("error")] = event.note
    return edn.write_form(fields)


def _from_map(form: object, line: int, count: int) -> Event | None:
    """One event from one map; None for a process that is no numbered client."""
    if not isinstance(form, dict):
        raise HistoryError(f"Line {line}: an event must be a map, not {form!r:.40}.", line)
    process = form.get("process")
    if isinstance(process, str):
        return None
    if not _whole(process):
        raise HistoryError(f"Line {line}: the event has no numbered :process.", line)
    time = form.get("time", count * 1_000_000)
    if isinstance(time, bool) or not isinstance(time, (int, float)) or not abs(time) < 1e300:
        raise HistoryError(f"Line {line}: the time {time!r:.40} is not a number.", line)
    event, problem = _event(
        time / 1e6,
        process,
        form.get("type"),
        form.get("f"),
        form.get("key"),
        form.get("value"),
        form.get("error", ""),
    )
    if event is None:
        raise HistoryError(f"Line {line}: {problem}.", line)
    return event


def _event(time, process, kind, f, key, value, note) -> tuple[Event | None, str]:
    """An event from parts that a stranger gave, or what is wrong with them."""
    if kind not in TYPES:
        return None, f"the type {kind!r:.40} is none of invoke, ok, fail, info"
    if not isinstance(f, str) or not f:
        return None, f"the operation {f!r:.40} has no name"
    f = _SYNONYMS.get(f, str(f))
    if key is not None:
        key = str(key) if isinstance(key, (str, int)) else edn.write_form(key)
    value = _plain(value)
    if isinstance(note, str) and not note and kind != "ok" and isinstance(value, str):
        # Jepsen writes the reason in place of the value: `:fail :read :timed-out`.
        note = value if f == "read" else note
    note = str(note) if isinstance(note, str) else edn.write_form(note)
    if f == "read" and kind != "ok":
        value = None
    if f == "cas" and kind == "invoke" and not (isinstance(value, tuple) and len(value) == 2):
        return None, f"a cas needs [old new], not {value!r:.40}"
    return Event(time, process, str(kind), f, key, value, note), ""


def _plain(value: object) -> object:
    """Hashable and free of notation: keywords become strings, maps tuples of pairs."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, tuple):
        return tuple(_plain(item) for item in value)
    if isinstance(value, frozenset):
        return frozenset(_plain(item) for item in value)
    if isinstance(value, dict):
        return tuple((_plain(key), _plain(item)) for key, item in value.items())
    return value


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _json_event(event: Event) -> dict[str, object]:
    made = {
        "time": event.time,
        "process": event.process,
        "type": event.type,
        "f": event.f,
        "key": event.key,
        "value": _to_json_value(event.value),
    }
    return made | {"note": event.note} if event.note else made


def _to_json_value(value: object) -> object:
    if isinstance(value, (tuple, list)):
        return [_to_json_value(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return {"set": sorted(map(_to_json_value, value), key=json.dumps)}
    return value


def _from_json_value(value: object, depth: int = 1) -> object:
    if isinstance(value, (list, dict)) and depth > edn.MAX_DEPTH:
        raise HistoryError(_TOO_DEEP)
    if isinstance(value, list):
        return tuple(_from_json_value(item, depth + 1) for item in value)
    if isinstance(value, dict):
        if value.keys() == {"set"} and isinstance(value["set"], list):
            return frozenset(_from_json_value(item, depth + 1) for item in value["set"])
        return tuple((key, _from_json_value(item, depth + 1)) for key, item in value.items())
    return value


def _from_json_event(item: object, number: int) -> Event:
    if not isinstance(item, dict):
        raise HistoryError(f"Event {number}: an event must be an object, not {item!r:.40}.")
    time, process = item.get("time", float(number - 1)), item.get("process")
    if isinstance(time, bool) or not isinstance(time, (int, float)) or not math.isfinite(time):
        raise HistoryError(f"Event {number}: the time {time!r:.40} is not a number.")
    if not _whole(process):
        raise HistoryError(f"Event {number}: the process {process!r:.40} is not a whole number.")
    event, problem = _event(
        time,
        process,
        item.get("type"),
        item.get("f"),
        item.get("key"),
        _from_json_value(item.get("value")),
        item.get("note", ""),
    )
    if event is None:
        raise HistoryError(f"Event {number}: {problem}.")
    return event


_LOG_LINE = re.compile(r"\w+\s+jepsen\S*\s+-\s+(\d{1,9})\s+(:\S+)\s+(\S+)(?:\s+(.*\S))?\s*\Z")


def _from_log_line(found: re.Match[str], number: int, time: float) -> Event:
    process, kind, f, rest = found.groups()
    try:
        value = next((form for _, form in edn.read_forms(rest or "nil")), None)
    except edn.EdnError as error:
        reason = str(error).split(": ", 1)[1]
        raise HistoryError(f"Line {number}: {reason}", number) from None
    refused = kind == ":fail" and f == ":cas"
    note = MISMATCH if refused and isinstance(value, tuple) else ""
    event, problem = _event(time, int(process), kind[1:], f.lstrip(":"), None, value, note)
    if event is None:
        raise HistoryError(f"Line {number}: {problem}.", number)
    return event
