"""Sequential models: what one copy of the data, asked one thing at a time, would answer.

A `Model` is an initial state and a step function. The checkers of `checker.py` and
`consistency.py` ask whether a concurrent history could have come from one. States and values are
hashable and immutable. Which operations conflict in time is the checkers' business.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from mlsys.cap.history import History, HistoryError, Operation, milliseconds

ILLEGAL = object()


@dataclass(frozen=True, slots=True)
class Model:
    """A sequential object.

    `step(state, operation)` gives the state after the operation, or ILLEGAL when the object could
    not have answered so. An operation of unknown outcome may answer anything. `operations` names
    what the model knows; each key of a history is an object of its own.
    """

    name: str
    initial: Hashable
    step: Callable[[Hashable, Operation], Hashable]
    operations: frozenset[str]


def _register_step(state: Hashable, operation: Operation) -> Hashable:
    if operation.f == "write":
        return operation.argument
    if operation.f == "read":
        return state if operation.status == "info" or operation.result == state else ILLEGAL
    old, new = operation.argument
    if operation.result is False:
        return ILLEGAL if state == old else state
    return new if state == old else ILLEGAL


def _key_value_step(state: Hashable, operation: Operation) -> Hashable:
    if operation.f == "append":
        return ("" if state is None else str(state)) + str(operation.argument)
    if operation.f == "read" and operation.result == "" and operation.status == "ok":
        return state if state in (None, "") else ILLEGAL  # an absent key reads as nothing
    return _register_step(state, operation)


def _log_step(state: tuple, operation: Operation) -> Hashable:
    if operation.f == "append":
        return (*state, operation.argument)
    if operation.status == "info":
        return state
    return state if (operation.result or ()) == state else ILLEGAL


def register(initial: Hashable = None) -> Model:
    """Read and write; a read gives the last value written."""
    return Model("register", initial, _register_step, frozenset({"read", "write"}))


def cas_register(initial: Hashable = None) -> Model:
    """A register that can also compare and set."""
    return Model("cas-register", initial, _register_step, frozenset({"read", "write", "cas"}))


def key_value(initial: Hashable = None) -> Model:
    """Strings by key, where append joins to what is there; Porcupine's key-value model."""
    known = frozenset({"read", "write", "cas", "append"})
    return Model("key-value", initial, _key_value_step, known)


def log() -> Model:
    """Append an element; a read gives the whole list in order."""
    return Model("log", (), _log_step, frozenset({"read", "append"}))


MODELS = {
    "register": register,
    "cas-register": cas_register,
    "key-value": key_value,
    "log": log,
}


def find_model(name: str | Model | None, history: History) -> Model:
    """The model of that name; None picks the simplest one that knows the history's operations.

    Raises HistoryError for a name or an operation that no model has.
    """
    if isinstance(name, Model):
        return name
    if name is not None:
        if name not in MODELS:
            raise HistoryError(f"No model is called {name!r}; there are {', '.join(MODELS)}.")
        return MODELS[name]()
    operations = history.operations()
    used = {operation.f for operation in operations}
    if used <= log().operations and any(
        isinstance(operation.result, (tuple, list)) for operation in operations
    ):
        return log()
    for make in MODELS.values():
        if used <= make().operations:
            return make()
    unknown = sorted(used - key_value().operations)
    raise HistoryError(
        f"No model knows the operation {unknown[0]!r}; there are read, write, cas and append."
    )


def partition(history: History, model: Model) -> dict[str | None, list[Operation]]:
    """The history's operations by key, in order of invocation, with hashable values.

    Reads of unknown outcome say nothing and are left out. Raises HistoryError for an operation
    that the model does not know.
    """
    parts: dict[str | None, list[Operation]] = {}
    for operation in history.operations():
        if operation.f not in model.operations:
            raise HistoryError(
                f"The model {model.name} knows no {operation.f!r}"
                f" (process {operation.process} at {milliseconds(operation.start)} ms)."
            )
        if operation.f == "read" and operation.status == "info":
            continue
        parts.setdefault(operation.key, []).append(_hashable(operation))
    return parts


def _hashable(operation: Operation) -> Operation:
    argument, result = _frozen(operation.argument), _frozen(operation.result)
    if argument is operation.argument and result is operation.result:
        return operation
    return Operation(
        operation.process,
        operation.f,
        operation.key,
        argument,
        result,
        operation.start,
        operation.end,
        operation.status,
        operation.index,
        operation.returned,
    )


def _frozen(value: object) -> Hashable:
    if value is None or isinstance(value, (str, int, float, bytes)):
        return value
    if isinstance(value, list):
        return tuple(map(_frozen, value))
    if isinstance(value, tuple):
        return (
            value
            if not any(isinstance(item, (list, dict, set, tuple)) for item in value)
            else tuple(map(_frozen, value))
        )
    if isinstance(value, (set, frozenset)):
        return frozenset(map(_frozen, value))
    if isinstance(value, dict):
        return frozenset((key, _frozen(item)) for key, item in value.items())
    return value
