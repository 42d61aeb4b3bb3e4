"""CRDTs converge whatever the order, the doubling and the detours of their states."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsys.cap import crdt, versions

REPLICAS = 3
COUNTS = st.lists(st.tuples(st.integers(0, REPLICAS - 1), st.integers(0, 5)), max_size=12)
CHANGES = st.lists(st.tuples(st.integers(0, REPLICAS - 1), st.integers(-5, 5)), max_size=12)
EDITS = st.lists(
    st.tuples(st.integers(0, REPLICAS - 1), st.sampled_from(["add", "remove"]),
              st.sampled_from(["a", "b", "c"])),
    max_size=12,
)  # fmt: skip


def _deliver(data, states, merge):
    """Give every replica every state, in any order, some twice, some by way of another one."""
    order = st.permutations(range(len(states)))
    extra = st.lists(st.integers(0, len(states) - 1), max_size=4)
    ends = []
    for start in states:
        state = start
        for index in [*data.draw(order), *data.draw(extra), *data.draw(order)]:
            state = merge(state, states[index])
        ends.append(state)
    return ends


def _g_states(counts):
    states = [crdt.G_ZERO] * REPLICAS
    for replica, amount in counts:
        states[replica] = crdt.g_add(states[replica], replica, amount)
    return states


@given(st.data(), COUNTS)
def test_g_counters_converge_to_the_sum_under_any_delivery(data, counts):
    ends = _deliver(data, _g_states(counts), crdt.g_merge)
    assert len(set(ends)) == 1
    assert crdt.g_value(ends[0]) == sum(amount for _, amount in counts)


def _pn_states(changes):
    states = [crdt.PNCounter()] * REPLICAS
    for replica, amount in changes:
        states[replica] = crdt.pn_add(states[replica], replica, amount)
    return states


@given(st.data(), CHANGES)
def test_pn_counters_converge_to_the_sum_under_any_delivery(data, changes):
    ends = _deliver(data, _pn_states(changes), crdt.pn_merge)
    assert len(set(ends)) == 1
    assert crdt.pn_value(ends[0]) == sum(amount for _, amount in changes)


def _or_states(edits, sync=()):
    states = [crdt.ORSet()] * REPLICAS
    for number, (replica, what, element) in enumerate(edits):
        if what == "add":
            states[replica] = crdt.or_add(states[replica], element, (replica, number))
        else:
            states[replica] = crdt.or_remove(states[replica], element)
        if number in sync:  # a state travels to the neighbour in between
            other = (replica + 1) % REPLICAS
            states[other] = crdt.or_merge(states[other], states[replica])
    return states


@given(st.data(), EDITS, st.sets(st.integers(0, 11)))
def test_or_sets_converge_under_any_delivery(data, edits, sync):
    assert len(set(_deliver(data, _or_states(edits, sync), crdt.or_merge))) == 1


@given(EDITS)
def test_an_or_set_on_one_replica_is_a_plain_set(edits):
    state, plain = crdt.ORSet(), set()
    for number, (_, what, element) in enumerate(edits):
        if what == "add":
            state, plain = crdt.or_add(state, element, number), plain | {element}
        else:
            state, plain = crdt.or_remove(state, element), plain - {element}
    assert crdt.or_value(state) == plain


def test_an_addition_beats_a_removal_that_did_not_see_it():
    first = crdt.or_add(crdt.ORSet(), "milk", "tag 1")
    removed = crdt.or_remove(first, "milk")
    again = crdt.or_add(first, "milk", "tag 2")
    assert crdt.or_value(crdt.or_merge(removed, again)) == {"milk"}
    assert crdt.or_value(crdt.or_merge(removed, first)) == set()


def test_a_g_counter_does_not_shrink():
    with pytest.raises(ValueError, match="only grows"):
        crdt.g_add(crdt.G_ZERO, 0, -1)


PAIRS = [
    (COUNTS.map(_g_states), crdt.g_merge),
    (CHANGES.map(_pn_states), crdt.pn_merge),
    (EDITS.map(_or_states), crdt.or_merge),
]


@pytest.mark.parametrize("states, merge", PAIRS, ids=["g-counter", "pn-counter", "or-set"])
@given(data=st.data())
def test_merge_is_commutative_associative_and_idempotent(states, merge, data):
    a, b, c = data.draw(states)
    assert merge(a, b) == merge(b, a)
    assert merge(a, merge(b, c)) == merge(merge(a, b), c)
    assert merge(a, a) == a


# Versions: what the vector-clock store keeps

WRITES = st.lists(st.tuples(st.integers(0, REPLICAS - 1), st.booleans()), max_size=10)


def _version_states(writes):
    """Each replica's versions after writes that had read there first (True) or were blind."""
    states: list = [()] * REPLICAS
    for counter, (replica, had_read) in enumerate(writes, 1):
        seen = versions.context(states[replica]) if had_read else {}
        new = versions.write(f"v{counter}", node=replica, counter=counter, seen=seen)
        states[replica] = versions.merge(states[replica], (new,))
    return states


@given(st.data(), WRITES)
def test_versions_converge_under_any_delivery(data, writes):
    assert len(set(_deliver(data, _version_states(writes), versions.merge))) == 1


@given(WRITES)
def test_no_version_is_lost_but_to_one_that_had_seen_it(writes):
    states = _version_states(writes)
    merged = versions.merge(versions.merge(states[0], states[1]), states[2])
    kept = {version.dot for version in merged}
    for state in states:
        for version in state:
            assert version.dot in kept or any(other.seen(version.dot) for other in merged)


def test_blind_writes_through_one_node_are_siblings():
    first = versions.write("a", node=0, counter=1, seen={})
    second = versions.write("b", node=0, counter=2, seen={})
    assert len(versions.merge((first,), (second,))) == 2
    joined = versions.write("ab", node=1, counter=1, seen=versions.context((first, second)))
    assert versions.merge((first, second), (joined,)) == (joined,)


@given(st.dictionaries(st.integers(0, 3), st.integers(1, 4)),
       st.dictionaries(st.integers(0, 3), st.integers(1, 4)))  # fmt: skip
def test_two_clocks_are_equal_ordered_or_concurrent(one, other):
    before, after = versions.happened_before(one, other), versions.happened_before(other, one)
    assert not (before and after)
    whole = versions.merge_clocks(one, other)
    assert whole == versions.merge_clocks(other, one)
    assert before == (whole == other and one != other)
