import asyncio
from contextlib import asynccontextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio import server
from websockets.frames import Frame, Opcode

from mlsys.serving.event_loop import bot as async_bot
from mlsys.serving.event_loop.frames import UPGRADE, masked, read_frame
from mlsys.serving.event_loop.room import joined, show, until
from mlsys.serving.event_loop.sites import Site


@asynccontextmanager
async def room():
    async def chat(member):
        async for message in member:
            server.broadcast(made.connections, message)

    async with server.serve(chat, "127.0.0.1", 0, compression=None) as made:
        yield made


def address(made):
    return "ws://{}:{}".format(*made.sockets[0].getsockname())


def test_all_members_hear_what_is_said_in_its_order():
    async def scene():
        async with room() as made:
            async with joined(address(made), 4) as guests:
                assert await until(lambda: len(made.connections) == 4)
                for number in range(20):
                    server.broadcast(made.connections, str(number))
                assert await until(lambda: all(len(g.heard) == 20 for g in guests))
            assert await until(lambda: not made.connections)
            return guests

    for guest in asyncio.run(scene()):
        assert guest.heard == [str(number) for number in range(20)]
        assert guest.times == sorted(guest.times)
        assert guest.closed == 1000


def test_a_silent_member_stops_who_waits_for_it_and_not_who_broadcasts():
    message = bytes(1_000_000)

    async def scene():
        async with room() as made:

            async def one_after_another():
                for member in made.connections:
                    await member.send(message)

            async def broadcast():
                server.broadcast(made.connections, message)

            stopped = await show(one_after_another, 50, made, guests=2, patience=2)
            went_on = await show(broadcast, 20, made, guests=2, patience=2)
            return stopped, went_on

    stopped, went_on = asyncio.run(scene())
    assert stopped.sent < 50
    assert went_on.sent == went_on.heard == 20
    assert went_on.heap > 4


def test_a_room_that_is_not_there_says_so():
    async def scene():
        async with joined("ws://127.0.0.1:1", 1):
            raise AssertionError("nobody can have joined")

    with pytest.raises(OSError, match="Connect call failed"):
        asyncio.run(scene())


def test_a_crowd_that_is_not_sensible_is_refused():
    async def scene():
        async with joined("ws://127.0.0.1:1", 10**6):
            raise AssertionError("nobody can have joined")

    with pytest.raises(ValueError, match="1000000 members are not sensible"):
        asyncio.run(scene())


def test_until_gives_up_in_time():
    assert asyncio.run(until(lambda: False, seconds=0.02)) is False
    assert asyncio.run(until(lambda: True)) is True


# --- frames by hand


async def read(data, **options):
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return await read_frame(reader, **options)


@settings(max_examples=60)
@given(
    payload=st.binary(max_size=200) | st.integers(65_530, 65_540).map(bytes),
    opcode=st.sampled_from([1, 2]),
    mask=st.booleans(),
)
def test_a_frame_of_the_library_is_read_as_it_was_sent(payload, opcode, mask):
    sent = Frame(Opcode(opcode), payload).serialize(mask=mask)
    assert asyncio.run(read(sent)) == (opcode, payload)


def test_a_frame_that_is_too_long_is_refused_by_its_announcement():
    announced = b"\x81\xff" + (2**32).to_bytes(8, "big")
    with pytest.raises(ValueError, match="a frame of 4,294,967,296 bytes is refused"):
        asyncio.run(read(announced))


def test_a_frame_that_is_cut_off_is_no_frame():
    with pytest.raises(asyncio.IncompleteReadError):
        asyncio.run(read(b"\x81\x05hel"))


def test_a_room_answers_the_handshake_by_hand():
    async def scene():
        async with room() as made:
            reader, writer = await asyncio.open_connection(*made.sockets[0].getsockname())
            writer.write(UPGRADE)
            answer = await reader.readuntil(b"\r\n\r\n")
            writer.write(b"\x81\x85four" + masked(b"hello", b"four"))
            heard = await read_frame(reader)
            writer.close()
            return answer, heard

    answer, heard = asyncio.run(scene())
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer  # RFC 6455, section 1.3
    assert heard == (1, b"hello")


# --- the site of the downloader


def test_a_site_gives_a_file_after_its_failures_and_counts_who_is_there():
    site = Site(failures=1, takes=0.001)

    async def scene():
        first = await asyncio.gather(site.get("a"), site.get("b"), return_exceptions=True)
        return first, await site.get("a")

    first, then = asyncio.run(scene())
    assert [type(error) for error in first] == [ConnectionError, ConnectionError]
    assert then == "<a>" and site.calls == ["a", "b", "a"]
    assert (site.most, site.now) == (2, 0)


# --- what the bot looks with


def test_the_model_reads_most_of_the_digits_that_it_has_not_seen():
    import io

    from PIL import Image

    right = 0
    for number in range(0, 200, 4):
        pixels, truth = async_bot.photo_of(number)
        photo = io.BytesIO()
        Image.fromarray(pixels).save(photo, "JPEG", quality=85)
        digit, seen = async_bot.read_digit(photo.getvalue())
        right += digit == truth
    assert right >= 45
    assert np.asarray(Image.open(io.BytesIO(seen))).shape == (160, 160)


@pytest.mark.parametrize("sent", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_what_is_no_picture_is_refused_in_one_sentence(sent):
    with pytest.raises(async_bot.PhotoError, match="no picture that can be read"):
        async_bot.read_digit(sent)


def test_only_digits_that_were_kept_out_are_photographed():
    with pytest.raises(ValueError, match="There is no digit 200"):
        async_bot.photo_of(200)
