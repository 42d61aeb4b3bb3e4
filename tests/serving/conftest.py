"""A real Valkey for each file that asks for one, emptied after each test."""

import pytest

from mlsys import services


@pytest.fixture(scope="module")
def valkey():
    with services.valkey() as server:
        yield server


@pytest.fixture
def kv(valkey):
    client = valkey.client()
    yield client
    client.flushall()
    client.close()
