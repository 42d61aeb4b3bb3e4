"""The fault proxy, between real sockets: what it does to TCP, to UDP, and when it is healed."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys import services
from mlsys.services.faults import SEGMENT, Fate, Faults


@contextmanager
def echo_server() -> Iterator[int]:
    """Sends back what it gets, a connection at a time in a thread each."""
    server = socket.create_server(("127.0.0.1", 0))

    def echo(connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65536):
                    connection.sendall(data)
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=echo, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)  # before its number can be another socket's
        server.close()


@contextmanager
def udp_echo() -> Iterator[int]:
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.05)
        done = threading.Event()

        def echo() -> None:
            while not done.is_set():
                try:
                    data, sender = server.recvfrom(65536)
                except TimeoutError:
                    continue
                server.sendto(data, sender)

        thread = threading.Thread(target=echo, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        done.set()
        thread.join(5)


def connect(port: int, timeout: float = 10) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=timeout)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def receive(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size and (piece := connection.recv(65536)):
        data += piece
    return bytes(data)


def ask(connection: socket.socket, data: bytes) -> bytes:
    """Send and receive at once, so that no buffer between can fill up and block."""
    sender = threading.Thread(target=connection.sendall, args=(data,), daemon=True)
    sender.start()
    answer = receive(connection, len(data))
    sender.join(10)
    return answer


def seconds(connection: socket.socket, data: bytes) -> float:
    start = time.perf_counter()
    assert ask(connection, data) == data
    return time.perf_counter() - start


@settings(max_examples=15, deadline=None)
@given(
    data=st.binary(min_size=1, max_size=200_000),
    delay=st.sampled_from([0, 1]),
    jitter=st.sampled_from([0, 2]),
    loss=st.sampled_from([0, 0.01]),
    bandwidth=st.sampled_from([1e7, 1e9]),
)
def test_tcp_delivers_every_byte_in_order_whatever_the_link_does(
    data: bytes, delay: float, jitter: float, loss: float, bandwidth: float
) -> None:
    with echo_server() as port, services.proxy(port) as link:
        link.delay(delay, jitter=jitter)
        link.loss(loss)
        link.bandwidth(bandwidth)
        with connect(link.port) as connection:
            assert ask(connection, data) == data
        assert link.counts["to_target"].bytes == len(data)


def test_a_delay_costs_each_round_trip_twice_and_heal_takes_it_away() -> None:
    with echo_server() as port, services.proxy(port) as link, connect(link.port) as connection:
        link.delay(30)
        slow = [seconds(connection, b"x") for _ in range(5)]
        link.heal()
        quick = [seconds(connection, b"x") for _ in range(5)]
        assert min(slow) >= 0.060
        assert min(quick) < min(slow)


def test_a_delay_in_one_direction_is_paid_once() -> None:
    with echo_server() as port, services.proxy(port) as link, connect(link.port) as connection:
        link.delay(30, direction="to_client")
        one_way = min(seconds(connection, b"x") for _ in range(5))
        link.delay(30)
        both = min(seconds(connection, b"x") for _ in range(5))
        assert 0.030 <= one_way < both


def test_bytes_arrive_no_sooner_than_the_bandwidth_allows() -> None:
    with echo_server() as port, services.proxy(port) as link, connect(link.port) as connection:
        link.bandwidth(400_000, direction="to_target")
        assert seconds(connection, bytes(80_000)) >= 0.19


def test_a_cut_is_silent_and_its_bytes_arrive_after_the_heal() -> None:
    with echo_server() as port, services.proxy(port) as link, connect(link.port) as connection:
        assert ask(connection, b"before") == b"before"
        link.cut()
        connection.sendall(b"during")
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(10)
        with connect(link.port, timeout=0.2) as newcomer:  # accepted, and as silent
            newcomer.sendall(b"hello")
            with pytest.raises(TimeoutError):
                newcomer.recv(10)
            link.heal()
            connection.settimeout(10)
            newcomer.settimeout(10)
            assert receive(connection, 6) == b"during"
            assert receive(newcomer, 5) == b"hello"


@pytest.mark.parametrize("direction", ["to_target", "to_client"])
def test_a_one_way_cut_lets_the_other_way_pass(direction: str) -> None:
    with echo_server() as port, services.proxy(port) as link, connect(link.port) as connection:
        assert ask(connection, b"a") == b"a"
        link.cut(direction)
        connection.sendall(b"b")
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(10)
        arrived = {"to_target": 1, "to_client": 2}[direction]
        end = time.monotonic() + 10
        while link.counts[direction].taken < 2 and time.monotonic() < end:
            time.sleep(0.005)
        assert link.counts[direction].taken == 2
        assert link.counts["to_target"].bytes == arrived
        assert link.counts["to_client"].bytes == 1


def test_the_end_of_a_stream_does_not_pass_a_cut() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        services.proxy(server.getsockname()[1]) as link,
    ):
        client = connect(link.port)
        far, _ = server.accept()
        link.cut()
        client.close()
        far.settimeout(0.2)
        with far, pytest.raises(TimeoutError):
            far.recv(10)


def test_closing_connections_resets_both_ends_and_new_ones_work() -> None:
    with echo_server() as port, services.proxy(port) as link:
        with connect(link.port) as connection:
            assert ask(connection, b"x") == b"x"
            link.close_connections()
            with pytest.raises(ConnectionResetError):
                connection.recv(10)
        with connect(link.port) as connection:
            assert ask(connection, b"y") == b"y"


def test_a_target_that_is_not_there_resets_the_client() -> None:
    with echo_server() as port:
        pass
    # On a busy machine the reset can come before `connect` has returned.
    with (
        services.proxy(port) as link,
        pytest.raises(ConnectionResetError),
        connect(link.port) as connection,
    ):
        connection.recv(10)


def test_a_half_closed_connection_still_gets_its_answer() -> None:
    with echo_server() as port, services.proxy(port) as link, connect(link.port) as connection:
        connection.sendall(b"last words")
        connection.shutdown(socket.SHUT_WR)
        assert receive(connection, 10) == b"last words"
        assert connection.recv(1) == b""


def test_corruption_changes_one_bit_of_each_segment_at_full_share() -> None:
    with echo_server() as port, services.proxy(port) as link, connect(link.port) as connection:
        link.corrupt(1, direction="to_target")
        sent = bytes(500)
        got = ask(connection, sent)
        assert sum(byte.bit_count() for byte in got) == 1
        assert link.counts["to_target"].corrupted == 1


def test_total_loss_resets_a_tcp_connection() -> None:
    with echo_server() as port, services.proxy(port) as link, connect(link.port) as connection:
        link.loss(1)
        connection.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            connection.recv(10)


def arrivals(link: services.Link, count: int) -> list[int]:
    """Numbered datagrams out and back; the numbers that came back, in the order of arrival."""

    def lost() -> int:
        return sum(counts.lost for counts in link.counts.values())

    before = lost()
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        for number in range(count):
            client.sendto(b"%d" % number, ("127.0.0.1", link.port))
            if number % 50 == 49:
                time.sleep(0.005)  # a pace that no receive buffer overflows at
        seen: list[int] = []
        client.settimeout(0.02)
        end = time.monotonic() + 10
        while len(seen) + lost() - before < count and time.monotonic() < end:
            try:
                seen.append(int(client.recv(100)))
            except TimeoutError:
                continue
        return seen


def test_udp_loses_the_same_datagrams_at_the_same_seed_and_others_at_another() -> None:
    def run(seed: int) -> list[int]:
        with udp_echo() as port, services.proxy(port, udp=True, seed=seed) as link:
            link.loss(0.3, direction="to_target")
            seen = arrivals(link, 200)
            assert len(seen) == 200 - link.counts["to_target"].lost
            return seen

    first = run(1)
    assert first == run(1) != run(2)
    assert 100 < len(first) < 180  # 140 expected, 6.5 standard deviations either way


def test_udp_passes_all_without_faults_and_none_through_a_cut() -> None:
    with udp_echo() as port, services.proxy(port, udp=True) as link:
        assert arrivals(link, 50) == list(range(50))
        link.cut()
        assert arrivals(link, 5) == []
        link.heal()
        assert arrivals(link, 5) == list(range(5))  # what was sent into the cut is gone


def test_jitter_lets_datagrams_overtake_but_loses_none() -> None:
    with udp_echo() as port, services.proxy(port, udp=True) as link:
        link.delay(20, jitter=20)
        seen = arrivals(link, 50)
        assert sorted(seen) == list(range(50)) and seen != sorted(seen)


@given(share=st.floats(0.01, 0.9), seed=st.integers())
@settings(max_examples=30)
def test_the_share_of_lost_packets_is_the_one_asked_for(share: float, seed: int) -> None:
    fate = Fate(str(seed))
    lost = sum(fate.next(Faults(loss=share))[0] > 0 for _ in range(2000))
    deviation = (share * (1 - share) / 2000) ** 0.5
    assert abs(lost / 2000 - share) < 6 * deviation


@given(changed_at=st.integers(0, 50))
def test_a_setting_changed_on_the_way_leaves_the_later_fates_alone(changed_at: int) -> None:
    steady, changed = Fate("7"), Fate("7")
    lossy = Faults(loss=0.3)
    want = [steady.next(lossy) for _ in range(60)]
    got = [changed.next(Faults() if i == changed_at else lossy) for i in range(60)]
    assert got[changed_at + 1 :] == want[changed_at + 1 :]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda link: link.delay(-1),
        lambda link: link.loss(1.5),
        lambda link: link.corrupt(-0.1),
        lambda link: link.bandwidth(0),
        lambda link: link.cut("sideways"),
    ],
)
def test_an_impossible_fault_is_refused_in_one_sentence(wrong) -> None:
    with echo_server() as port, services.proxy(port) as link:
        with pytest.raises(services.ServiceError):
            wrong(link)
        assert "no fault" in repr(link) and "<table>" in link._repr_html_()


def test_a_closed_link_listens_no_more_and_says_so() -> None:
    with echo_server() as port, services.proxy(port) as link:
        pass
    with pytest.raises(ConnectionRefusedError):
        connect(link.port)
    with pytest.raises(services.ServiceError, match="is closed"):
        link.cut()


def test_a_segment_is_what_fits_an_ethernet_frame() -> None:
    assert SEGMENT + 20 + 20 + 12 == 1500  # IP, TCP, timestamps
