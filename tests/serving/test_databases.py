"""PostgreSQL's own answers about anomalies and plans, and four layouts that agree."""

import pytest

from mlsys import services
from mlsys.serving.databases import figures as databases_figures
from mlsys.serving.databases import layouts as databases_layouts
from mlsys.serving.databases import postgres as databases
from mlsys.serving.databases.postgres import ABSENT, HAPPENED, REFUSED


@pytest.fixture(scope="module")
def cluster():
    with services.postgres_cluster() as running:
        yield running


@pytest.fixture(scope="module")
def url(cluster):
    return cluster.nodes[0].url


def test_each_level_lets_through_what_postgresql_documents(url):
    table = databases.anomalies(url)
    assert list(table["read committed"]) == [ABSENT, *[HAPPENED] * 4]
    assert list(table["repeatable read"]) == [ABSENT, ABSENT, ABSENT, REFUSED, HAPPENED]
    assert list(table["serializable"]) == [ABSENT, ABSENT, ABSENT, REFUSED, REFUSED]


def test_sessions_of_a_refused_transaction_leave_no_lock_behind(url):
    for _ in range(3):
        assert databases.outcome(url, databases.lost_update, "serializable") == REFUSED


def test_an_index_serves_few_rows_and_not_a_fifth_of_the_table_or_a_hidden_column(url):
    table = databases.plans(url)
    gain = table["pages"] / table["pages then"]
    assert gain["how many of one person"] > 20
    assert gain["the last ten"] > 20
    assert gain["all with five stars"] < 2
    assert gain["the same, by a function of it"] == 1
    assert table["with an index"]["how many of one person"] == "Index Only Scan"


def test_a_replica_that_is_cut_off_answers_with_the_past(cluster):
    assert databases.cut_off(cluster) == {"primary": 0, "replica": 1}


def test_a_key_value_store_is_slow_at_what_is_not_a_key(url):
    with services.valkey() as store:
        table = databases_layouts.compare(url, store.url, rows=3_000)
    assert list(table.columns) == list(databases_layouts.LAYOUTS)
    mean = table.loc["mean of a column"]
    assert mean["key-value"] > 5 * mean["columns"]
    assert (table > 0).all(axis=None)
    fig = databases_figures.layouts(table)
    assert fig.data[0].z.min() == 0


def test_layouts_that_disagree_are_an_error():
    with pytest.raises(ValueError, match="columns and rows disagree"):
        databases_layouts._agree("q", {"rows": [1.0], "columns": [2.0]})


def test_too_few_orders_are_refused():
    with pytest.raises(ValueError, match="10 orders"):
        databases_layouts.orders(10)
