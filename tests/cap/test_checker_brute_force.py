"""The checker against brute force: every history of a register with two values, up to renaming.

An interval order is fixed by how many operations precede and follow each (the sets of predecessors
form a chain), so every shape of n operations is one sorted tuple of such pairs, 217 of them for
n = 6, and operations with equal pairs may be exchanged. All histories of up to five operations run
always; those of six run when MLSYS_EXHAUSTIVE is set (half a minute), and every twentieth shape
otherwise.
"""

import itertools
import os

import numpy as np
import pytest

from mlsys.cap.checker import search
from mlsys.cap.history import Operation
from mlsys.cap.models import ILLEGAL, cas_register, register

FISHBURN = {1: 1, 2: 2, 3: 5, 4: 15, 5: 53, 6: 217}


def shapes(n):
    """One list of (call, return) places for each interval order of n operations."""
    found = {}

    def place(events, waiting, begun):
        if len(events) == 2 * n:
            spans = [(events.index((i, 0)), events.index((i, 1))) for i in range(n)]
            pairs = [
                (
                    sum(other[1] < span[0] for other in spans),
                    sum(span[1] < other[0] for other in spans),
                )
                for span in spans
            ]
            order = sorted(range(n), key=lambda i: (pairs[i], spans[i]))
            found.setdefault(tuple(sorted(pairs)), [(spans[i], pairs[i]) for i in order])
            return
        if begun < n:
            place([*events, (begun, 0)], waiting | {begun}, begun + 1)
        for i in waiting:
            # Returns in a row commute: take them in one order only.
            if not (events and events[-1][1] and events[-1][0] > i):
                place([*events, (i, 1)], waiting - {i}, begun)

    place([], frozenset(), 0)
    return list(found.values())


def linear_extensions(spans):
    n = len(spans)
    before = [{j for j in range(n) if spans[j][1] < spans[i][0]} for i in range(n)]

    def extend(done):
        if len(done) == n:
            yield done
        for i in range(n):
            if i not in done and before[i] <= set(done):
                yield from extend((*done, i))

    return np.array(list(extend(())))


def labellings(pairs, labels, swap):
    """Every choice of a label for each operation, up to exchange of equals and of the values."""
    groups = [len(list(group)) for _, group in itertools.groupby(pairs)]
    each = [list(itertools.combinations_with_replacement(range(labels), size)) for size in groups]
    for chosen in itertools.product(*each):
        mirrored = tuple(tuple(sorted(swap[label] for label in group)) for group in chosen)
        if chosen <= mirrored:
            yield sum(chosen, ())


def brute_force(extensions, chosen, legal, labels):
    """For each labelling whether any extension spells a legal word: no cleverness, all orders."""
    answers = np.zeros(len(chosen), dtype=bool)
    for order in extensions:
        code = np.zeros(len(chosen), dtype=np.int64)
        for place in order:
            code = code * labels + chosen[:, place]
        answers |= legal[code]
    return answers


def legal_words(n, model, operations):
    legal = np.zeros(len(operations) ** n, dtype=bool)
    for code, word in enumerate(itertools.product(operations, repeat=n)):
        state = model.initial
        for operation in word:
            state = model.step(state, operation)
            if state is ILLEGAL:
                break
        legal[code] = state is not ILLEGAL
    return legal


def operation(label, span=(0, 1), process=0):
    f, argument, result = label
    start, end = span
    return Operation(process, f, None, argument, result, start, end, "ok", start, end)


REGISTER = [
    ("write", 1, None),
    ("write", 2, None),
    ("read", None, None),
    ("read", None, 1),
    ("read", None, 2),
]
REGISTER_SWAP = [1, 0, 2, 4, 3]
CAS = [
    *REGISTER,
    ("cas", (1, 2), True),
    ("cas", (2, 1), True),
    ("cas", (1, 2), False),
    ("cas", (2, 1), False),
]
CAS_SWAP = [*REGISTER_SWAP, 6, 5, 8, 7]


def compare_with_brute_force(n, model, labels, swap, some=lambda number: True):
    legal = legal_words(n, model, [operation(label) for label in labels])
    count = linearizable = 0
    made = shapes(n)
    assert len(made) == FISHBURN[n]
    for shape in itertools.compress(made, map(some, range(len(made)))):
        spans, pairs = zip(*shape)
        chosen = np.array(list(labellings(pairs, len(labels), swap)))
        expected = brute_force(linear_extensions(spans), chosen, legal, len(labels))
        ready = [[operation(label, span) for label in labels] for span in spans]
        ordered = sorted(range(n), key=lambda i: spans[i])
        for word, answer in zip(chosen.tolist(), expected.tolist()):
            given_operations = [ready[i][word[i]] for i in ordered]
            assert search(model, given_operations, 10_000)[0] is answer, given_operations
        count += len(chosen)
        linearizable += int(expected.sum())
    assert 0 < linearizable < count or n == 1
    return count


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_all_register_histories_of_up_to_five_operations_agree_with_brute_force(n):
    assert compare_with_brute_force(n, register(), REGISTER, REGISTER_SWAP) >= 3


def test_the_register_histories_of_six_operations_agree_with_brute_force():
    everything = bool(os.environ.get("MLSYS_EXHAUSTIVE"))
    some = (lambda number: True) if everything else (lambda number: number % 20 == 3)
    assert compare_with_brute_force(6, register(), REGISTER, REGISTER_SWAP, some) > 5_000


@pytest.mark.parametrize("n", [1, 2, 3])
def test_all_compare_and_set_histories_of_up_to_three_operations_agree_with_brute_force(n):
    assert compare_with_brute_force(n, cas_register(), CAS, CAS_SWAP) >= 5
