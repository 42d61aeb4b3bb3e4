"""A swarm over real sockets: pieces come from peers, whole and in time."""

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsys import services
from mlsys.serving.protocols import swarm as protocols_swarm

DATA = bytes(range(256)) * 160


def test_all_peers_end_with_the_file_and_the_seed_sent_fewer_copies_than_a_server_would():
    data = np.random.default_rng(3).bytes(600_000)
    reports = protocols_swarm.run(data, services.worker)
    whole = hashlib.sha256(data).hexdigest()
    assert {report.digest for report in reports.values()} == {whole}
    pieces = math.ceil(len(data) / protocols_swarm.PIECE)
    for name in ("ben", "carl"):
        assert sum(reports[name].sources.values()) == pieces
    assert reports["anna"].sources == {}
    assert sum(report.sources.get("anna", 0) for report in reports.values()) < 2 * pieces


def test_a_liar_is_found_out_at_the_first_piece():
    pieces = {0: b"one", 1: b"two"}
    honest = protocols_swarm.Peer("honest", dict(pieces))
    liar = protocols_swarm.Peer("a liar", dict(pieces), liar=True)
    wants = protocols_swarm.Peer("wants", {})
    for peer in (honest, liar, wants):
        peer.ready.set()
    ports = {peer.name: peer.port for peer in (honest, liar, wants)}
    try:
        wants.fetch(ports, [protocols_swarm.digest(one) for one in pieces.values()])
        assert wants.pieces == pieces
        assert wants.refused == 1  # the name that sorts first is asked first
        assert wants.sources == {"honest": 2}
    finally:
        for peer in (honest, liar, wants):
            peer.close()


def test_a_swarm_of_liars_is_an_error_and_not_a_file():
    liar = protocols_swarm.Peer("liar", {0: b"one"}, liar=True)
    wants = protocols_swarm.Peer("wants", {})
    liar.ready.set()
    try:
        with pytest.raises(ConnectionError, match="no honest peer"):
            wants.fetch({"liar": liar.port}, [protocols_swarm.digest(b"one")])
        assert wants.pieces == {}
    finally:
        liar.close()
        wants.close()


def test_a_tracker_whose_peers_do_not_come_says_who_has_reported():
    with (
        protocols_swarm.tracker(DATA, peers=1) as meeting,
        pytest.raises(TimeoutError, match="reported"),
    ):
        meeting.wait(0.05)


@given(data=st.binary(max_size=500), size=st.integers(1, 100))
def test_the_pieces_of_a_file_make_the_file(data, size):
    pieces = protocols_swarm.cut(data, size)
    assert b"".join(pieces) == data
    assert all(len(piece) == size for piece in pieces[:-1])
