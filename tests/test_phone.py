"""The phone from code, its still picture, and its panel as the browser would drive it."""

import asyncio
import io
import json
import socket
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from leftovers import await_gone
from PIL import Image
from telegram import InlineKeyboardButton, InlineKeyboardMarkup, Update
from telegram.ext import Application, CallbackQueryHandler, MessageHandler, filters

from mlsys import services
from mlsys.phone import NoReply, Phone, PhoneError
from mlsys.phone_panel import Panel
from mlsys.services import Conversation, Expect, Replayed, Say, Turn, replay
from mlsys.serving import bots


@pytest.fixture
def telegram():
    with services.bot_api(name="Spam bot") as api:
        yield api


def send(api: services.BotApi, chat: int, text: str, *labels: str) -> None:
    """What a bot sends, straight into the chat."""
    rows = [[{"text": label, "callback_data": label} for label in labels]]
    markup = {"inline_keyboard": rows} if labels else None
    api.chats.post(chat, api.chats.me, {"text": text}, reply_to=None, markup=markup)


async def spam(update: Update, context: object) -> None:
    keys = [InlineKeyboardButton(word, callback_data=word) for word in ("right", "wrong")]
    label = "spam" if "prize" in update.message.text else "ham"
    await update.message.reply_text(
        f"{label}, 0.97", reply_markup=InlineKeyboardMarkup([keys]), do_quote=True
    )


async def judged(update: Update, context: object) -> None:
    await update.callback_query.answer()
    await update.callback_query.edit_message_text(f"You say: {update.callback_query.data}")


async def measure(update: Update, context: object) -> None:
    size = update.message.photo[-1]
    await update.message.reply_text(f"{size.width} by {size.height}")


def spam_bot(api: services.BotApi) -> Application:
    app = bots.builder(api).build()
    app.add_handler(MessageHandler(filters.TEXT, spam))
    app.add_handler(MessageHandler(filters.PHOTO, measure))
    app.add_handler(CallbackQueryHandler(judged))
    return app


# Conversations


def test_a_script_is_replayed_and_what_differs_is_said_in_sentences(telegram) -> None:
    script = [
        "you won a prize",
        Expect(text="spam, 0.97", buttons=("right", "wrong")),
        Say(tap="right"),
        Expect(kind="edit", has="RIGHT"),
        Say(photo=np.zeros((8, 9))),
        Expect(like=r"^9 by 8$", photo=False),
    ]
    wrong = ["hello", Expect(has="spam"), Say(tap="no such"), Expect()]

    async def both() -> tuple:
        async with bots.running(spam_bot(telegram)):
            held = await replay(Phone(telegram, "Ada"), script, timeout=10)
            again = await replay(Phone(telegram, "Bob"), held.conversation, timeout=10)
            failed = await replay(Phone(telegram, "Cy"), wrong, timeout=10)
            return held, again, failed

    held, again, failed = asyncio.run(both())
    assert held.ok and again.ok, (held, again)
    assert held.conversation.heard == again.conversation.heard
    assert held.conversation != again.conversation  # another user said it
    assert failed.complaints == (
        "Answer 1 should contain 'spam', but says 'ham, 0.97'.",
        "After answer 1: There is no button 'no such' to tap; there are right, wrong.",
    )
    assert "no such" in failed._repr_html_() and "Answer 1" in repr(failed)


def test_a_bot_that_says_nothing_or_too_much_is_complained_of(telegram) -> None:
    phone = Phone(telegram, "Ada")
    silent = asyncio.run(replay(phone, ["hello", Expect(), "more"], timeout=0.01))
    assert len(silent.complaints) == 1
    assert silent.complaints[0].startswith("Answer 1 did not come. No reply to 'hello'")
    assert silent.conversation.said == ("hello",)

    async def chatty() -> Replayed:
        waiting = asyncio.create_task(replay(phone, ["hi", Expect(text="one")], timeout=5))
        await asyncio.sleep(0)
        for word in ("one", "two"):
            send(telegram, phone.chat_id, word)
        return await waiting

    assert asyncio.run(chatty()).complaints == (
        "The bot did 1 more than the 1 that were expected.",
    )


def test_equal_conversations_are_those_that_read_the_same(telegram) -> None:
    phone = Phone(telegram, "Ada")
    phone.say("hi")
    send(telegram, phone.chat_id, "hello", "a", "b")
    assert phone.conversation == Conversation(
        (Turn("Ada", "hi"), Turn("bot", "hello", buttons=(("a", "b"),)))
    )
    assert phone.conversation[1:] == Conversation((Turn("bot", "hello", buttons=(("a", "b"),)),))
    assert phone.conversation != Conversation((Turn("Ada", "hi"), Turn("bot", "hello")))
    assert str(phone.conversation) == "Ada: hi\nbot: hello [a] [b]"


# The phone


def test_replies_come_in_order_and_none_twice(telegram) -> None:
    phone = Phone(telegram, "Ada")
    for word in ("one", "two", "three"):
        send(telegram, phone.chat_id, word)

    async def read() -> list[str]:
        first = await phone.replies(2)
        return [*(turn.text for turn in first), (await phone.reply()).text]

    assert asyncio.run(read()) == ["one", "two", "three"]
    with pytest.raises(NoReply, match=r"No reply came within 0\.01 s"):
        asyncio.run(phone.reply(timeout=0.01))
    assert Phone(telegram, "Ada").user == phone.user
    with pytest.raises(NoReply):  # a phone that is picked up later has read what was there
        asyncio.run(Phone(telegram, "Ada").reply(timeout=0.01))


def test_why_there_is_no_reply_is_said(telegram) -> None:
    phone = Phone(telegram, "Ada")
    phone.say("hello")
    with pytest.raises(NoReply, match=r"no bot has fetched it yet \(1 waiting\)"):
        asyncio.run(phone.reply(timeout=0))
    telegram.chats.confirm(2)
    with pytest.raises(NoReply, match=r"fetched the message.*Is there a handler"):
        asyncio.run(phone.reply(timeout=0))
    with telegram.outage(), pytest.raises(NoReply, match="server has stopped"):
        asyncio.run(phone.reply(timeout=0))
    assert issubclass(NoReply, TimeoutError)


@pytest.mark.parametrize(
    "photo",
    [
        np.zeros((4, 6)),
        np.zeros((4, 6, 3), dtype=np.uint8),
        np.full((4, 6), np.nan),
        np.full((4, 6), 300, dtype=int),
        Image.new("RGBA", (6, 4)),
        Image.new("I;16", (6, 4)),
        Image.new("CMYK", (6, 4)).convert("P"),
    ],
    ids=["fractions", "rgb", "nan", "too bright", "clear", "16 bit", "palette"],
)
def test_any_usual_picture_can_be_sent(telegram, photo) -> None:
    turn = Phone(telegram, "Ada").send_photo(photo, "look")
    assert (turn.size, turn.text) == ((6, 4), "look")
    assert Image.open(io.BytesIO(turn.photo)).size == (6, 4)


def test_what_cannot_be_done_is_one_sentence_and_changes_nothing(telegram, tmp_path) -> None:
    phone = Phone(telegram, "Ada")
    for act, words in (
        (lambda: phone.say("  "), "empty message"),
        (lambda: phone.send_photo(tmp_path / "no.png"), "no photo at"),
        (lambda: phone.send_photo(b"text"), "IMAGE_PROCESS_FAILED"),
        (lambda: phone.send_photo(3), "A int is no photo"),
        (lambda: phone.send_photo(np.zeros(5)), r"shape \(5,\)"),
        (lambda: phone.tap("yes"), "no button 'yes' to tap; there are none"),
        (lambda: phone.tap_at(1, 0, 0), "not there any more"),
        (lambda: phone.say("x", reply_to=Turn("bot", "?", message_id=9)), "replied not found"),
        (lambda: Phone(telegram, "bot"), "no user's name"),
        (lambda: phone.say("x" * 5000), "too long"),
        (lambda: phone.say("\ud83d"), "encoded in UTF-8"),
        (lambda: phone.send_photo(np.eye(4), "x" * 1025), "caption is too long"),
    ):
        with pytest.raises(PhoneError, match=words):
            act()
    assert len(phone.conversation) == 0 and telegram.waiting == 0


@settings(max_examples=25)
@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=4))
def test_whatever_is_said_stands_escaped_in_the_picture(words: list[str]) -> None:
    turns = tuple(Turn("<i>Ada", word, reply_to=word, buttons=((word,),)) for word in words)
    turns += (Turn("bot", "<script>alert(1)</script>", "notice"),)
    html = Conversation(turns)._repr_html_()
    assert "<script" not in html and "<i>" not in html and html.count("<div") == html.count("</div")


def test_the_picture_shows_edits_in_place_and_photos_in_themselves(telegram) -> None:
    phone = Phone(telegram, "Ada")
    send(telegram, phone.chat_id, "right or wrong?", "right", "wrong")
    phone.tap("wrong")
    telegram.chats.edit(phone.chat_id, 1, {"text": "thanks"}, None)
    phone.send_photo(np.eye(8))
    html = phone.picture().data
    assert "right or wrong?" not in html and "thanks" in html and ">edited<" in html
    assert "Ada taps “wrong”" in html and 'src="data:image/jpeg;base64,' in html
    assert phone.picture().metadata["alt"] == str(phone.conversation)


# The panel


async def until(so: Callable[[], bool]) -> None:
    """Let the loop bring the panel up to date: the chat changes in the server's thread."""
    async with asyncio.timeout(30):
        while not so():
            await asyncio.sleep(0.005)


def panel_of(phone: Phone) -> Panel:
    data, _ = phone._repr_mimebundle_()
    assert data["text/html"].startswith("<div") and "widget-view" in " ".join(data)
    return phone._panel


def test_the_panel_says_taps_and_sends_photos_for_its_user(telegram) -> None:
    async def use() -> tuple:
        phone = Phone(telegram, "Ada")
        async with bots.running(spam_bot(telegram)):
            panel = panel_of(phone)
            panel._done(panel, {"kind": "say", "text": "a <b>prize</b>"}, [])
            answer = await phone.reply()
            panel._done(panel, {"kind": "tap", "message_id": 2, "row": 0, "column": 1}, [])
            edit = await phone.reply()
            shot = io.BytesIO()
            Image.new("L", (7, 5)).save(shot, "PNG")
            panel._done(panel, {"kind": "photo", "caption": "?"}, [memoryview(shot.getvalue())])
            size = await phone.reply()
            panel._done(panel, {"kind": "say", "text": "why", "reply_to": 2}, [])
            await phone.reply()
            await until(lambda: len(panel.bubbles) >= 6 and panel.bubbles[-1]["bot"])
            return panel, answer, edit, size

    panel, answer, edit, size = asyncio.run(use())
    assert (answer.text, edit.text, size.text) == ("spam, 0.97", "You say: wrong", "7 by 5")
    texts = [bubble["text"] for bubble in panel.bubbles]
    assert texts[:2] == ["a <b>prize</b>", "You say: wrong"]
    assert [b["reply"] for b in panel.bubbles if b["text"] == "why"] == ["You say: wrong"]
    assert [bubble["mine"] for bubble in panel.bubbles[:2]] == [True, False]
    assert list(panel.photos) == ["3"] and panel.status == "bot" and panel.problem == ""
    json.dumps(panel.bubbles)


def test_whatever_the_browser_sends_the_panel_stays_and_says_what_was_wrong(telegram) -> None:
    phone = Phone(telegram, "Ada")
    panel = panel_of(phone)
    for said, buffers in (
        ({"kind": "say", "text": ""}, []),
        ({"kind": "say", "text": "x", "reply_to": 99}, []),
        ({"kind": "say", "text": "x", "reply_to": "one"}, []),
        ({"kind": "tap"}, []),
        ({"kind": "tap", "message_id": 1, "row": -1, "column": 0}, []),
        ({"kind": "photo"}, []),
        ({"kind": "photo"}, [b"no picture"]),
        ({"kind": "photo"}, [bytes(10 * 2**20 + 1)]),
        ("words", []),
        (None, []),
    ):
        panel._done(panel, said, buffers)
        assert panel.problem, said
    panel._done(panel, {"kind": "say", "text": "fine"}, [])
    assert panel.problem == "" and phone.conversation.said == ("fine",)


def test_the_panel_shows_whether_anybody_is_there() -> None:
    async def use() -> list[str]:
        seen = []
        with services.bot_api() as api:
            phone = Phone(api, "Ada")
            panel = panel_of(phone)
            seen.append(panel.status)
            async with bots.running(spam_bot(api)):
                phone.say("hello")
                await phone.reply()
                await until(lambda: panel.status == "bot")
                api.chats.show_action(phone.chat_id)
                await until(lambda: panel.status == "typing…")
        await until(lambda: panel.status == "server stopped")
        return seen

    assert asyncio.run(use()) == ["not started"]


def test_who_types_to_a_stopped_server_is_told_and_nothing_is_said() -> None:
    with services.bot_api() as api:
        phone = Phone(api, "Ada")
        panel = panel_of(phone)
    panel._done(panel, {"kind": "say", "text": "hello"}, [])
    assert panel.problem.startswith("The server has stopped. Run the cells")
    assert phone.conversation.said == ()


def test_what_the_panel_was_answered_is_not_read_again_by_code(telegram) -> None:
    async def use() -> str:
        phone = Phone(telegram, "Ada")
        panel = panel_of(phone)
        panel._done(panel, {"kind": "say", "text": "typed"}, [])
        send(telegram, phone.chat_id, "to the typed")
        phone.say("from a cell")
        send(telegram, phone.chat_id, "to the cell")
        return (await phone.reply()).text

    assert asyncio.run(use()) == "to the cell"


def test_a_killed_kernel_leaves_no_server_behind(tmp_path) -> None:
    lines = """
import asyncio, threading
from mlsys import services
from mlsys.serving import bots

async def main():
    with services.bot_api() as api:
        async with bots.running(bots.builder(api).build()):
            print(api.port, flush=True)
            await asyncio.Event().wait()

asyncio.run(main())
"""
    kernel = subprocess.Popen([sys.executable, "-c", lines], stdout=subprocess.PIPE, text=True)
    with kernel:
        port = int(kernel.stdout.readline())
        family = [psutil.Process(kernel.pid), *psutil.Process(kernel.pid).children(recursive=True)]
        kernel.kill()
    await_gone(family)
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
