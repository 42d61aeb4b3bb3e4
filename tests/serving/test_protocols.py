import json
import math
import socket
import threading
from contextlib import contextmanager
from functools import partial
from random import Random

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys import services
from mlsys.serving.protocols import figures as protocols_figures
from mlsys.serving.protocols import formats as protocols_formats
from mlsys.serving.protocols import messages as protocols
from mlsys.serving.protocols.messages import ProtocolError
from mlsys.serving.protocols.stream import Stream, stream
from mlsys.serving.protocols.transfer import Transfer, _Window, goodputs, mathis, transfer
from mlsys.serving.protocols.web import shop

DATA = bytes(range(256)) * 160


@pytest.fixture
def listener():
    with socket.create_server((protocols.HOST, 0)) as one:
        yield one


def port_of(listener):
    return listener.getsockname()[1]


@contextmanager
def bad_link(port, udp=False, seed=1, **faults):
    with services.proxy(port, udp=udp, seed=seed) as link:
        for name, value in faults.items():
            getattr(link, name)(value)
        yield link


# --- framing


@settings(max_examples=30, deadline=None)
@given(payloads=st.lists(st.binary(max_size=300), max_size=8), cuts=st.data())
def test_messages_come_out_as_they_went_in_however_the_stream_is_split(payloads, cuts):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        framed = protocols.framed(payloads)

        def send_in_pieces():
            rest = framed
            while rest:
                size = min(len(rest), sizes.pop() if sizes else 64)
                ours.sendall(rest[:size])
                rest = rest[size:]

        sizes = cuts.draw(st.lists(st.integers(1, 50), max_size=40))
        thread = threading.Thread(target=send_in_pieces)
        thread.start()
        theirs.settimeout(5)
        assert [protocols.receive_message(theirs) for _ in payloads] == payloads
        thread.join()


@given(seed=st.integers(0, 10**6))
def test_the_pieces_of_a_stream_make_the_stream(seed):
    dice = Random(seed)
    wanted = protocols.payloads(dice)
    data = protocols.framed(wanted)
    assert b"".join(protocols.pieces_of(data, dice)) == data
    assert len(data) == sum(4 + len(one) for one in wanted)


def test_a_foreign_peer_is_refused_instead_of_waited_for():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(ProtocolError, match="1,195,725,856"):
            protocols.receive_message(theirs)


def test_a_peer_that_closes_in_the_middle_of_a_message_is_an_error_that_says_so():
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            ours.sendall((10).to_bytes(4, "big") + b"abc")
        with pytest.raises(ConnectionError, match="3 of 10"):
            protocols.receive_message(theirs)


def test_one_recv_reads_whole_messages_directly_and_few_through_a_narrow_link(listener):
    message = json.dumps(list(range(600))).encode()

    def naive(conn):
        return json.loads(conn.recv(65_536))

    assert protocols.understood(naive, message, listener, port_of(listener), tries=10) == 10
    with services.proxy(port_of(listener)) as link:
        link.bandwidth(30_000)
        # A reader that the machine keeps waiting finds all the pieces there: not none, but few.
        assert protocols.understood(naive, message, listener, link.port, tries=10) < 8


def test_or_error_gives_the_result_or_the_error_in_words():
    assert protocols.or_error(int, "7") == 7
    assert protocols.or_error(int, "seven").startswith("ValueError: ")
    with pytest.raises(TypeError):  # a fault of ours is not a fault of the network
        protocols.or_error(len, 7)


def test_bytes_are_waited_for_and_left_where_they_are():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        later = threading.Timer(0.05, ours.sendall, (b"SELL 7",))
        ours.sendall(b"BUY 10")
        later.start()
        protocols.until_there(theirs, 12)
        assert theirs.recv(1024) == b"BUY 10SELL 7"
        later.join()


def test_a_byte_a_send_is_slower_than_a_thousand():
    assert protocols.send_speed(1, most=2_000) < protocols.send_speed(1000, most=2_000_000)


# --- transfers


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_file_arrives_whole_over_a_clean_link(protocol):
    done = transfer(protocol, services.proxy, DATA)
    assert done.whole
    assert done.repeats == 0 or protocol == "udp"
    assert done.goodput == pytest.approx(len(DATA) / done.seconds)


@pytest.mark.parametrize(
    "faults", [{"loss": 0.25}, {"corrupt": 0.2}, {"delay": 10, "loss": 0.1, "corrupt": 0.1}]
)
def test_our_protocol_brings_every_byte_through_loss_and_damage(faults):
    done = transfer("udp", partial(bad_link, **faults), DATA, timer=0.05)
    assert done.whole
    assert done.repeats > 0


@settings(max_examples=8, deadline=None)
@given(data=st.binary(max_size=3_000), chunk=st.integers(1, 700), window=st.integers(1, 40))
def test_any_file_in_any_chunks_with_any_window_arrives(data, chunk, window):
    @contextmanager
    def straight(port, udp):
        yield type("Way", (), {"port": port})

    # Chunks of a byte would take seconds for nothing new.
    chunk = max(chunk, len(data) // 60 + 1)
    assert transfer("udp", straight, data, chunk=chunk, window=window).whole


def test_the_receiver_answers_until_the_sender_knows():
    @contextmanager
    def first_answers_lost(port, udp):
        with services.proxy(port, udp=udp) as link:
            link.loss(1, direction="to_client")
            heal = threading.Timer(0.6, link.heal)
            heal.start()
            yield link
            heal.join()

    done = transfer("udp", first_answers_lost, b"one chunk", timer=0.05)
    assert done.whole and done.repeats > 0


def test_a_cut_link_ends_in_a_transfer_that_did_not_arrive_and_not_in_silence():
    @contextmanager
    def cut(port, udp):
        with services.proxy(port, udp=udp) as link:
            link.cut()
            yield link

    for protocol in ("tcp", "udp"):
        done = transfer(protocol, cut, DATA, timeout=0.5)
        assert not done.whole
        assert done.goodput == 0


@given(
    count=st.integers(1, 60),
    size=st.integers(1, 10),
    lost=st.sets(st.integers(0, 200), max_size=100),
)
def test_the_window_is_never_overrun_and_ends_with_everything_acknowledged(count, size, lost):
    window, serial, now = _Window(count, size), 0, 0.0
    acknowledged = set()
    for _ in range(1_000):
        if window.done:
            break
        now += 1.0
        for number in window.due(now, timer=0.5):
            if serial not in lost:
                acknowledged.add(number)
                window.acknowledge(number)
            serial += 1
        assert len(window.flying) <= size
    assert window.done
    assert acknowledged == set(range(count))


def test_a_chunk_overtaken_by_three_others_is_sent_again_once_before_its_timer():
    window = _Window(count=10, size=6)
    assert window.due(0.0, timer=100) == [0, 1, 2, 3, 4, 5]
    for number in (1, 2):
        window.acknowledge(number)
    assert 0 not in window.due(0.1, timer=100)
    window.acknowledge(3)
    assert window.due(0.2, timer=100)[0] == 0
    window.acknowledge(4)
    window.acknowledge(5)
    assert 0 not in window.due(0.3, timer=100)  # 4 and 5 left before the repeat did


@pytest.mark.parametrize("chunk", [0, 60_001])
def test_a_chunk_that_fits_no_datagram_is_refused_with_its_size(chunk):
    with pytest.raises(ProtocolError, match=str(chunk)[:2]):
        transfer("udp", services.proxy, DATA, chunk=chunk, timeout=0.2)


def test_goodput_is_the_median_of_all_runs_at_each_loss():
    def carry(protocol, loss, *, seed):
        return Transfer(protocol, 100, (1 + seed**3 / 4) * (1 + loss), whole=True)

    tcp, udp = goodputs(carry, [0, 1], runs=3)
    assert tcp == udp == pytest.approx([80, 40])


def test_a_file_that_did_not_arrive_whole_has_no_mean():
    def carry(protocol, loss, *, seed):
        return Transfer(protocol, 100, 1.0, whole=protocol == "tcp")

    with pytest.raises(ProtocolError, match=r"did not arrive whole by udp at a loss of 0.2"):
        goodputs(carry, [0.2], runs=1)


def test_an_unknown_protocol_is_named():
    with pytest.raises(ProtocolError, match="'ftp'"):
        transfer("ftp", services.proxy, DATA)
    with pytest.raises(ProtocolError, match="'rtp'"):
        stream("rtp", services.proxy)


def test_four_times_the_loss_halves_a_real_tcp_and_none_leaves_the_line():
    assert mathis(0.04, 0.02) == pytest.approx(mathis(0.01, 0.02) / 2)
    assert mathis(0, 0.02, line=5e6) == 5e6
    assert mathis(1e-9, 0.02, line=5e6) == 5e6


# --- streams


def test_a_stream_over_udp_loses_frames_where_tcp_delays_them():
    link = partial(bad_link, loss=0.15, delay=5, seed=3)
    how = {"frames": 60, "interval": 0.005, "patience": 2.0}
    over_tcp, over_udp = (stream(protocol, link, **how) for protocol in ("tcp", "udp"))
    assert np.isnan(over_udp.delays).any()
    assert not np.isnan(over_tcp.delays).any()
    assert np.nanmax(over_tcp.delays) > 0.19  # the link's timer, not this machine's speed


def test_a_link_that_loses_everything_ends_the_stream_without_an_error():
    link = partial(bad_link, loss=1.0)
    for protocol in ("tcp", "udp"):
        played = stream(protocol, link, frames=10, interval=0.002, patience=0.2)
        assert played.played(10) == 0


def test_carrying_each_frame_twice_repairs_losses():
    link = partial(bad_link, loss=0.15, delay=5, seed=3)
    once, twice = (
        np.isnan(
            stream("udp", link, frames=80, interval=0.004, repeat=repeat, patience=1.0).delays
        ).sum()
        for repeat in (0, 1)
    )
    assert 0 < twice < once


def test_a_frame_that_never_came_was_not_shown_in_time():
    one = Stream("udp", 0.01, np.array([0.02, math.nan, 0.3, 0.1]))
    assert one.played(0.1) == 0.5


# --- formats, web, figures


@settings(max_examples=30)
@given(
    st.fixed_dictionaries(
        {
            "id": st.integers(-(2**31), 2**31),
            "model": st.text("abc-ü<&>", max_size=10),
            "pixels": st.lists(st.integers(0, 16), max_size=64),
        }
    )
)
def test_each_format_gives_back_what_was_written(request_):
    for write, read in protocols_formats.FORMATS.values():
        assert read(write(request_)) == request_


def test_binary_is_smaller_than_json_and_json_than_xml():
    request = {"id": 7, "model": "digits", "pixels": list(range(16)) * 4}
    table = protocols_formats.compare(request, calls=2)
    assert table.bytes["MessagePack"] < table.bytes["JSON"] < table.bytes["XML"]


def test_the_shop_answers_with_the_path_and_is_gone_afterwards():
    with shop() as port:
        url = f"http://{protocols.HOST}:{port}/price"
        assert httpx.get(url).text == "you asked for /price"
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_boundaries_show_every_message_once_on_each_side():
    fig = protocols_figures.boundaries([3, 4], [5, 1, 1], title="t")
    assert [sum(bar.x) for bar in fig.data] == [7, 7]
    assert [list(bar.base) for bar in fig.data] == [[0, 3], [0, 5, 6]]


def test_lost_frames_are_drawn_apart_from_late_ones():
    played = Stream("udp", 0.01, np.array([0.02, math.nan, 0.3]))
    fig = protocols_figures.frame_delays({"UDP": played}, deadline=0.1, title="t")
    assert [len(trace.x) for trace in fig.data] == [2, 1]
    assert "never" in fig.data[1].name


def test_speeds_are_drawn_as_shares_of_the_best():
    fig = protocols_figures.speed_by_chunk({1: 10.0, 10: 40.0}, [0.1, 0.5], title="t")
    assert list(fig.data[0].y) == [0.25, 1.0]


def test_a_file_that_did_not_arrive_has_no_goodput_and_says_so():
    done = [Transfer("tcp", 1000, 0.5, True), Transfer("udp", 1000, 0.1, False, repeats=3)]
    fig = protocols_figures.race(done, pieces=7)
    assert [bar.y[0] for bar in fig.data] == [2.0, 0.0]
    assert fig.data[1].text[0] == "did not arrive"
    assert "7" in fig.layout.title.text and "3" in fig.layout.title.text


def test_goodput_is_drawn_in_percent_and_kilobytes():
    fig = protocols_figures.goodput_by_loss(
        [0, 0.1], {"ours": [2e6, 1e6]}, bound=[3e6, 2e5], title="t"
    )
    assert list(fig.data[0].x) == [0, 10]
    assert list(fig.data[0].y) == [2000, 1000]
    assert len(fig.data) == 2
