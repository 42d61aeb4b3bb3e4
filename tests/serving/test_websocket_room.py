import asyncio
from contextlib import asynccontextmanager

import numpy as np
import pytest
from websockets.asyncio import server

from mlsys.serving.event_loop import bot as async_bot
from mlsys.serving.event_loop.room import joined, show, until


@asynccontextmanager
async def room():
    members = set()

    async def chat(member):
        members.add(member)
        try:
            async for message in member:
                server.broadcast(members, message)
        finally:
            members.discard(member)

    async with server.serve(chat, "127.0.0.1", 0, compression=None) as made:
        yield f"ws://127.0.0.1:{made.sockets[0].getsockname()[1]}", members


def test_all_members_hear_what_is_said_in_its_order():
    async def scene():
        async with room() as (url, members):
            async with joined(url, 4) as guests:
                assert await until(lambda: len(members) == 4)
                for number in range(20):
                    server.broadcast(members, str(number))
                assert await until(lambda: all(len(g.heard) == 20 for g in guests))
            assert await until(lambda: not members)
            return guests

    for guest in asyncio.run(scene()):
        assert guest.heard == [str(number) for number in range(20)]
        assert guest.times == sorted(guest.times)
        assert guest.closed == 1000


def test_a_silent_member_stops_who_waits_for_it_and_not_who_broadcasts():
    message = bytes(1_000_000)

    async def scene():
        async with room() as (url, members):

            async def one_after_another():
                for member in list(members):
                    await member.send(message)

            async def broadcast():
                server.broadcast(members, message)
                await asyncio.sleep(0)

            stopped = await show(one_after_another, 50, url, members, guests=2, patience=2)
            went_on = await show(broadcast, 20, url, members, guests=2, patience=2)
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
