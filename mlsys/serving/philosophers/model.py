"""Small models of the dining philosophers, and every interleaving of each explored.

A model is a start state and a function from a state to the steps that are possible in it. States
are visited, not runs: there are few of them, and what holds in each holds in every run, however
long. `check` finds deadlocks, livelocks and starvation. Real threads are in `philosophers`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mlsys.serving.timeline import Event

MOST_STATES = 300_000
THINKS, HUNGRY, EATS = "thinks", "is hungry", "eats"
STUCK = "waits for ever"

State = Hashable
Step = tuple[int, str, State]  # who, what it does, the state afterwards


class ModelError(ValueError):
    """A model that cannot be explored; the message says why."""


@dataclass(frozen=True)
class Model:
    """n guests, the state they begin in, what can happen next, and what a guest is in a state.

    steps(state) yields (who, what, state afterwards). mood(state, i) is THINKS, HUNGRY or EATS.
    """

    name: str
    guests: int
    start: State
    steps: Callable[[State], Iterator[Step]]
    mood: Callable[[State, int], str]


def in_order(
    programs: Sequence[Sequence[object]],
    *,
    name: str = "",
    room: Mapping[object, int] | None = None,
    gives_up: bool = False,
) -> Model:
    """Guests who take what their program lists, one after another, eat, and put all back.

    programs: of each guest, the things it takes, in order; a tuple of things is taken at once. A
    thing is held by one guest at a time, or by as many as `room` says. Who finds a thing taken
    waits for it or, with `gives_up`, puts all back and begins again. A state is a number for each
    guest: 0 thinks, 1 is hungry, 1 + k holds its first k.
    """
    programs = [[t if isinstance(t, tuple) else (t,) for t in program] for program in programs]
    room = room or {}

    def steps(state: tuple[int, ...]) -> Iterator[Step]:
        held = Counter(
            thing
            for program, at in zip(programs, state)
            for things in program[: max(0, at - 1)]
            for thing in things
        )
        for i, (program, at) in enumerate(zip(programs, state)):
            if at == 0:
                yield i, "gets hungry", _set(state, i, 1)
            elif at > len(program):
                yield i, "puts all back", _set(state, i, 0)
            elif all(held[thing] < room.get(thing, 1) for thing in program[at - 1]):
                named = " and ".join(str(thing) for thing in program[at - 1])
                yield i, f"takes {named}", _set(state, i, at + 1)
            elif gives_up and at > 1:
                yield i, "gives up", _set(state, i, 1)

    def mood(state: tuple[int, ...], i: int) -> str:
        at = state[i]
        return THINKS if at == 0 else EATS if at > len(programs[i]) else HUNGRY

    return Model(name, len(programs), (0,) * len(programs), steps, mood)


def naive(n: int) -> Model:
    """The left fork, then the right one."""
    return in_order([(i, (i + 1) % n) for i in range(n)], name="naive")


def ordered(n: int) -> Model:
    """The lower-numbered fork first."""
    return in_order([sorted((i, (i + 1) % n)) for i in range(n)], name="resource order")


def waiter(n: int) -> Model:
    """A seat first, of which there is one less than guests."""
    programs = [("a seat", i, (i + 1) % n) for i in range(n)]
    return in_order(programs, name="waiter", room={"a seat": n - 1})


def try_lock(n: int) -> Model:
    """The left fork; when the right one is taken, back to the start."""
    return in_order([(i, (i + 1) % n) for i in range(n)], name="try-lock", gives_up=True)


def both_at_once(n: int) -> Model:
    """Both forks in one step or none: nobody holds one and waits."""
    return in_order([((i, (i + 1) % n),) for i in range(n)], name="both at once")


def spare_forks(n: int) -> Model:
    """Each fork can be used by two at a time."""
    room = {k: 2 for k in range(n)}
    return in_order([(i, (i + 1) % n) for i in range(n)], name="forks for two", room=room)


def chandy_misra(n: int) -> Model:
    """The rules of Chandy and Misra (1984); a message arrives in the step that sends it.

    A state: the moods, and for each fork (its owner, whether it is dirty, whether the other
    neighbour has asked for it). Fork k lies between the guests k - 1 and k.
    """

    def other(k: int, i: int) -> int:
        return (k - 1) % n if i == k else k

    def give(forks: tuple, k: int) -> tuple:
        return _set(forks, k, (other(k, forks[k][0]), False, False))

    def steps(state: tuple) -> Iterator[Step]:
        moods, forks = state
        for i in range(n):
            mine = (i, (i + 1) % n)
            due = [k for k in mine if forks[k][0] == i and forks[k][1] and forks[k][2]]
            if moods[i] == EATS:
                after = forks
                for k in mine:
                    asked = forks[k][2]
                    after = _set(after, k, (i, True, asked))
                    after = give(after, k) if asked else after
                yield i, "stops eating", (_set(moods, i, THINKS), after)
                continue
            for k in due:
                yield i, f"gives fork {k}", (moods, give(forks, k))
            if moods[i] == THINKS:
                yield i, "gets hungry", (_set(moods, i, HUNGRY), forks)
            elif all(forks[k][0] == i for k in mine) and not due:
                yield i, "eats", (_set(moods, i, EATS), forks)
            else:
                for k in mine:
                    owner, dirty, asked = forks[k]
                    if owner != i and not asked:
                        yield i, f"asks for fork {k}", (moods, _set(forks, k, (owner, dirty, True)))

    first = tuple((min(k, (k - 1) % n), True, False) for k in range(n))
    return Model("Chandy-Misra", n, ((THINKS,) * n, first), steps, lambda s, i: s[0][i])


Serve = Callable[[list[int], set[int], int], Sequence[int]]


def waiter_with_a_list(n: int, serve: Serve, *, name: str = "waiter with a list") -> Model:
    """A waiter who hands out both forks: serve(queue, eating, n) names who may eat now.

    queue: the hungry, in the order in which they came. A state: the queue and who eats. Raises
    ModelError, while it is explored, when `serve` names somebody who is not in the queue, or
    two neighbours who would eat together.
    """

    def settled(queue: tuple[int, ...], eating: frozenset[int]) -> State:
        chosen = list(serve(list(queue), set(eating), n))
        if wrong := [i for i in chosen if i not in queue] or (
            chosen if len(chosen) != len(set(chosen)) else []
        ):
            raise ModelError(f"serve named {wrong}, but the hungry are {list(queue)}, each once.")
        eating |= set(chosen)
        for i in eating:
            if (i + 1) % n in eating:
                raise ModelError(
                    f"serve let the neighbours {i} and {(i + 1) % n} of {n} eat together."
                )
        return tuple(i for i in queue if i not in eating), eating

    def steps(state: tuple) -> Iterator[Step]:
        queue, eating = state
        for i in range(n):
            if i in eating:
                yield i, "stops eating", settled(queue, eating - {i})
            elif i not in queue:
                yield i, "gets hungry", settled((*queue, i), eating)

    def mood(state: tuple, i: int) -> str:
        return EATS if i in state[1] else HUNGRY if i in state[0] else THINKS

    return Model(name, n, ((), frozenset()), steps, mood)


def _set(values: tuple, place: int, value: object) -> tuple:
    return (*values[:place], value, *values[place + 1 :])


# --- exploring


@dataclass(frozen=True)
class Space:
    """Every state that a model can reach, in the order found, and the steps between them.

    came: of each state, (the state before, who, what) on a shortest way there; None at the start.
    edges: (from, to, who) as places in `states`.
    """

    model: Model
    states: list[State]
    came: dict[State, tuple[State, int, str] | None]
    edges: np.ndarray

    @property
    def deadlocks(self) -> list[State]:
        """States without a next step, the nearest first."""
        moving = set(self.edges[:, 0].tolist())
        return [state for place, state in enumerate(self.states) if place not in moving]

    def way_to(self, state: State) -> list[tuple[int, str, State]]:
        """The steps (who, what, the state afterwards) of a shortest run to the state."""
        steps = []
        while (step := self.came[state]) is not None:
            before, who, what = step
            steps.append((who, what, state))
            state = before
        return steps[::-1]

    def runs(self, length: int) -> int:
        """How many runs of so many steps begin at the start (exact, a Python integer)."""
        count, nexts = {0: 1}, {}
        for a, b, _ in self.edges.tolist():
            nexts.setdefault(a, []).append(b)
        for _ in range(length):
            after: Counter[int] = Counter()
            for a, ways in count.items():
                for b in nexts.get(a, ()):
                    after[b] += ways
            count = after
        return sum(count.values())

    @cached_property
    def moods(self) -> np.ndarray:
        """(states, guests) of the moods."""
        guests = range(self.model.guests)
        return np.array([[self.model.mood(state, i) for i in guests] for state in self.states])

    @property
    def livelock(self) -> bool:
        """Whether a fair run exists in which, from some step on, somebody is hungry for ever and
        nobody eats."""
        nobody = ~(self.moods == EATS).any(axis=1)
        return any(
            (self.moods[part] == HUNGRY).any(axis=1).all() for part in self._fair_parts(nobody)
        )

    @property
    def starving(self) -> tuple[int, ...]:
        """The guests who can stay hungry for ever in a fair run that never stops."""
        guests = range(self.model.guests)
        return tuple(
            i for i in guests if any(True for _ in self._fair_parts(self.moods[:, i] == HUNGRY))
        )

    def _fair_parts(self, inside: np.ndarray) -> Iterator[np.ndarray]:
        """Strongly connected parts of the states `inside` that a fair run can go round in.

        Fair (weakly): a guest that could take a step all the time takes one, but need not get
        hungry. A part that fails that for a guest has no smaller part that does not.
        """
        size = len(self.states)
        a, b, who = self.edges.T
        kept = inside[a] & inside[b]
        graph = coo_array((np.ones(kept.sum(), np.int8), (a[kept], b[kept])), shape=(size, size))
        parts, label = connected_components(graph, directed=True, connection="strong")
        owed = ~((self.moods[a, who] == THINKS) & (self.moods[b, who] == HUNGRY))
        able = np.zeros((size, self.model.guests), dtype=bool)
        able[a[owed], who[owed]] = True
        always_able = np.ones((parts, self.model.guests), dtype=bool)
        np.logical_and.at(always_able, label, able)
        took = np.zeros_like(always_able)
        within = kept & (label[a] == label[b])
        took[label[a[within]], who[within]] = True
        rounds = np.flatnonzero(took.any(axis=1) & (took | ~always_able).all(axis=1))
        by_part = np.argsort(label, kind="stable")
        ends = np.searchsorted(label[by_part], [rounds, rounds + 1])
        yield from (by_part[i:j] for i, j in ends.T)


def explore(model: Model, *, most: int = MOST_STATES) -> Space:
    """Visit every state, the nearest to the start first. ModelError beyond `most` states."""
    place: dict[State, int] = {model.start: 0}
    came: dict[State, tuple[State, int, str] | None] = {model.start: None}
    line, edges = deque([model.start]), []
    while line:
        state = line.popleft()
        for who, what, after in model.steps(state):
            if after not in place:
                if len(place) == most:
                    raise ModelError(
                        f"{model.name} with {model.guests} guests has more than {most:,} states;"
                        " explore it with fewer guests."
                    )
                place[after] = len(place)
                came[after] = state, who, what
                line.append(after)
            edges.append((place[state], place[after], who))
    return Space(model, list(place), came, np.array(edges, dtype=int).reshape(-1, 3))


@dataclass(frozen=True)
class Verdict:
    """What exploring found: `states` visited, `deadlocks` among them, whether `livelock` and
    whose starvation is possible."""

    name: str
    states: int
    deadlocks: int
    livelock: bool
    starving: tuple[int, ...]


def check(model: Model) -> Verdict:
    """Explore the model and look for all that can go wrong."""
    space = explore(model)
    return Verdict(
        model.name, len(space.states), len(space.deadlocks), space.livelock, space.starving
    )


def story(space: Space, state: State) -> list[Event]:
    """A shortest run to the state as events for `timeline`; a step takes one second."""
    model, events = space.model, []
    since = [(0, model.mood(model.start, i), "") for i in range(model.guests)]
    way = space.way_to(state)
    for at, (who, what, after) in enumerate(way, 1):
        begun, mood, said = since[who]
        if at > begun:
            events.append(Event(f"guest {who}", begun, at, mood, said))
        since[who] = at, _stage(model, after, who, what), what
    stuck = not any(True for _ in model.steps(state))
    for i, (begun, mood, said) in enumerate(since):
        events.append(Event(f"guest {i}", begun, len(way) + 2, STUCK if stuck else mood, said))
    return sorted(events, key=lambda event: (event.row, event.start))


def _stage(model: Model, state: State, who: int, what: str) -> str:
    mood = model.mood(state, who)
    return "holds one fork" if mood == HUNGRY and what.startswith("takes") else mood
