"""A sweep gives the same wherever it is computed, and says so when it cannot."""

import pytest

from mlsys.cap.measures import convergence_ms, summary
from mlsys.cap.scenes import Scene
from mlsys.cap.sweeps import SweepError, grid, sweep

SCENES = grid(
    Scene(duration_ms=300.0, settle_ms=100.0, keep_messages=0), r=(1, 2), w=(1, 2), seed=(1, 2)
)


def test_a_grid_is_every_combination_in_order():
    assert [(s.r, s.w, s.seed) for s in SCENES] == [
        (r, w, seed) for r in (1, 2) for w in (1, 2) for seed in (1, 2)
    ]


def test_a_pool_of_processes_gives_what_one_process_gives():
    assert sweep(SCENES, summary, workers=2) == sweep(SCENES, summary, workers=1)


def test_a_dask_cluster_gives_what_one_process_gives():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        assert sweep(SCENES, cluster=cluster.scheduler_address) == sweep(SCENES, workers=1)


def test_a_measure_that_cannot_travel_is_refused_before_anything_runs():
    with pytest.raises(SweepError, match="put it in a module"):
        sweep(SCENES, lambda run: run.sent, workers=2)
    assert len(sweep(SCENES, lambda run: run.sent, workers=1)) == len(SCENES)


def test_a_cluster_that_is_not_there_is_one_sentence():
    with pytest.raises(SweepError, match="No Dask scheduler answers"):
        sweep(SCENES[:1], convergence_ms, cluster="tcp://127.0.0.1:9")


def test_no_scenes_give_no_results():
    assert sweep([], summary) == []
