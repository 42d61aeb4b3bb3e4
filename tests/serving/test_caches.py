"""Caches: the rules keep to their size and to the optimum, writes and stampedes do what is said."""

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys import services
from mlsys.serving.caches import figures as caches_figures
from mlsys.serving.caches import rules as caches
from mlsys.serving.caches import stampede as caches_stampede
from mlsys.serving.caches import writes as caches_writes
from mlsys.serving.caches.rules import RULES, CacheError

traces = st.lists(st.integers(0, 12), min_size=1, max_size=80)
sizes = st.integers(1, 8)


def lru_by_hand(trace, size):
    cache, hits = [], []
    for key in trace:
        hits.append(key in cache)
        if key in cache:
            cache.remove(key)
        cache = [*cache, key][-size:]
    return hits


def best_by_search(trace, size):
    """Most hits over every choice of what to keep: the optimum without a proof."""
    best = {frozenset(): 0}
    for key in trace:
        after = {}
        for kept, hits in best.items():
            hits += key in kept
            full = kept | {key}
            outcomes = [kept, full] if len(full) <= size else [full - {one} for one in full]
            for one in outcomes:
                after[one] = max(after.get(one, -1), hits)
        best = after
    return max(best.values())


@given(trace=traces, size=sizes)
def test_lru_agrees_with_a_list_that_is_moved_by_hand(trace, size):
    assert caches.lru(trace, size).tolist() == lru_by_hand(trace, size)


@settings(max_examples=40, deadline=None)
@given(trace=st.lists(st.integers(0, 5), min_size=1, max_size=14), size=st.integers(1, 4))
def test_belady_has_as_many_hits_as_any_choice_could(trace, size):
    assert caches.belady(trace, size).sum() == best_by_search(trace, size)


@given(trace=traces, size=sizes)
def test_no_rule_beats_the_optimum_or_hits_a_key_never_seen(trace, size):
    most = caches.belady(trace, size).sum()
    seen_before = np.array([key in trace[:place] for place, key in enumerate(trace)])
    for rule in RULES.values():
        hits = rule(trace, size)
        assert hits.sum() <= most
        assert not (hits & ~seen_before).any()


@given(trace=traces)
def test_a_cache_with_room_for_all_misses_each_key_once(trace):
    for rule in (caches.lru, caches.lfu, caches.belady):
        assert rule(trace, 13).sum() == len(trace) - len(set(trace))


def test_lfu_keeps_what_is_asked_often_and_lru_what_was_asked_lately():
    often = [1, 1, 1, 2, 3, 1]
    assert caches.lfu(often, 2)[-1]
    assert not caches.lru(often, 2)[-1]


def test_on_a_steady_trace_counting_wins_and_with_fashions_it_loses():
    table = caches.worlds(100, requests=15_000, seed=3)
    assert table.steady.LRU < table.steady.LFU <= table.steady.optimum
    assert table.fashion.LFU < table.fashion.LRU
    assert table.scans.LRU < table.scans.LFU
    assert (table.max() == table.loc["optimum"]).all()


def test_zipf_gives_each_rank_its_share():
    trace = caches.zipf(50, 40_000, skew=1.0, seed=1)
    counts = np.bincount(trace, minlength=50) / 40_000
    assert np.abs(counts - caches.zipf_shares(50, 1.0)).max() < 0.01
    assert caches.zipf_shares(50, 0.0) == pytest.approx(np.full(50, 0.02))


def test_a_scan_asks_for_each_of_its_keys_once():
    trace = caches.scans(100, 1_000, seed=1)
    scanned = trace[trace >= 100]
    assert len(scanned) == len(set(scanned.tolist())) == 300


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: caches.lru([1, 2], 0), "0 keys"),
        (lambda: caches.lfu([-1], 1), "whole numbers"),
        (lambda: caches.belady([0.5], 1), "whole numbers"),
        (lambda: caches.zipf(0, 10), "for 0 keys"),
        (lambda: caches.zipf(10, 10, skew=-1), "skew -1"),
        (lambda: caches.replay("steep", [1]), "'steep'"),
        (lambda: caches.recommender(1), "1 items"),
        (lambda: caches_writes.compare(["by prayer"]), "'by prayer'"),
        (lambda: caches_writes.compare(ttl=0), "above 0"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(call, says):
    with pytest.raises(CacheError, match=says) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_the_recommender_ranks_a_person_s_own_item_among_the_best():
    recommend = caches.recommender(500, seed=1)
    assert 7 in recommend(7)
    assert recommend(7) == recommend(7)
    assert len(recommend(7)) == 10


# --- writes


def test_a_ttl_bounds_the_age_of_every_answer():
    for ttl in (0.5, 2.0):
        table = caches_writes.compare(ttl=ttl, seconds=20, seed=2)
        assert (table.oldest <= ttl + 0.03).all()


def test_versions_leave_only_the_moment_between_the_two_writes():
    table = caches_writes.compare(ttl=10, seconds=40, seed=2)
    assert table.oldest["write-through, versions"] <= 0.002 + 1e-9
    assert table.stale["write-through, versions"] <= table.stale["write-through"]
    assert table.stale["TTL alone"] > 5 * table.stale["delete on write"]


def test_a_longer_life_asks_the_database_less_and_is_wrong_more():
    tables = caches_writes.by_ttl((1, 8), seconds=20, seed=2)
    short, long = (tables[ttl].loc["TTL alone"] for ttl in (1, 8))
    assert long.database_reads < short.database_reads
    assert long.stale > short.stale
    assert len(caches_figures.stale_by_ttl(tables).data) == len(caches_writes.WAYS)


def test_without_writes_nothing_is_ever_stale():
    one = caches_writes.run("TTL alone", 1.0, 50, 200.0, 1e-9, 5.0)
    assert one.stale <= 0.01  # at least one write is always drawn


# --- stampede


def test_with_a_lock_the_database_is_asked_by_one_at_a_time_and_less_often():
    with services.valkey() as store:
        runs = asyncio.run(caches_stampede.stampede(store.url, seconds=1.2))
    assert list(runs) == list(caches_stampede.CURES)
    plain, *cured = runs.values()
    assert all(len(run.queries) < len(plain.queries) for run in cured[:2])
    assert [run.most_at_once for run in cured[:2]] == [1, 1]
    assert plain.most_at_once > 1
    assert all(run.load.failed == 0 for run in runs.values())
    fig = caches_figures.queries(runs)
    assert sum(len(run.queries) for run in runs.values()) > 0
    assert "no cure" in fig.layout.title.text


def test_queries_at_the_same_time_get_rows_of_their_own():
    run = caches_stampede.Stampede("no cure", None, ((0.0, 1.0), (0.5, 1.5), (1.0, 2.0)))
    assert run.most_at_once == 2
    assert [event.row for event in run.events()] == [
        "no cure, query 1",
        "no cure, query 2",
        "no cure, query 1",
    ]


def test_hit_curves_show_percent_and_name_the_size():
    ratios = caches.replay("steady", [10, 100], requests=2_000)
    fig = caches_figures.hit_curves(ratios, mark=100)
    assert list(fig.data[0].x) == [10, 100]
    assert fig.data[0].y[0] == pytest.approx(100 * ratios.LRU[10])
    assert "100 of 10,000" in fig.layout.title.text


def test_the_questions_of_the_exercise_differ_also_as_text():
    asked = caches.questions()
    assert len({repr(question) for question in asked}) == len(asked) == 66
