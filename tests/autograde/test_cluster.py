"""A class graded by the workers of a Dask cluster: the same gradebook as on one machine."""

import shutil
import socket

import pytest
from distributed import LocalCluster
from gradebooks import files_of, rows_of
from submissions import PA0
from test_parallel import ungraded

from autograde.cluster import ClusterPool
from autograde.parallel import grade_class
from autograde.workers import WorkerError

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")

STUDENTS = ["erroring", "late", "partly"]


def test_a_cluster_writes_the_same_gradebook_and_notebooks(graded_class, tmp_path):
    course = ungraded(graded_class, tmp_path / "course")
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        address = cluster.scheduler_address
        rows = grade_class(course, PA0, STUDENTS, cluster=address, feedback=False)
    assert [row.student for row in rows] == STUDENTS
    expected = rows_of(graded_class)
    assert rows_of(course) == {student: expected[student] for student in STUDENTS}
    mine = tuple(f"{student}/" for student in STUDENTS)
    graded = {k: v for k, v in files_of(graded_class).items() if k.startswith(mine)}
    assert files_of(course) == graded


def test_an_address_where_nobody_answers_is_one_sentence(graded_class, tmp_path, monkeypatch):
    course = tmp_path / "course"
    shutil.copytree(graded_class, course)
    monkeypatch.setattr("autograde.cluster._PATIENCE", 1)
    with pytest.raises(WorkerError, match=r"No Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        grade_class(course, PA0, ["late"], force=True, cluster="tcp://127.0.0.1:9")


@pytest.mark.parametrize("address", ["nonsense", "http://127.0.0.1:9", "tls://127.0.0.1:9", ""])
def test_an_address_that_is_none_is_one_sentence(address):
    with pytest.raises(WorkerError, match="No Dask scheduler answers at"):
        ClusterPool(address, print)


def test_a_port_that_takes_calls_and_says_nothing_is_one_sentence(monkeypatch):
    """As the dashboard's does, whose address is easily taken for the scheduler's."""
    monkeypatch.setattr("autograde.cluster._PATIENCE", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(WorkerError, match="No Dask scheduler answers at"):
            ClusterPool(address, print)


def test_a_scheduler_that_goes_does_not_fail_the_class_at_its_end():
    with LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        pool = ClusterPool(cluster.scheduler_address, print)
        with pool:
            cluster.close()
