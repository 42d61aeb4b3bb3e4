"""Bots of the real python-telegram-bot against the local Bot API, beside a phone."""

import asyncio
import io

import numpy as np
import psutil
import pytest
from PIL import Image
from telegram import InlineKeyboardButton, InlineKeyboardMarkup, Update
from telegram.error import BadRequest, RetryAfter, TelegramError
from telegram.ext import (
    Application,
    CallbackQueryHandler,
    CommandHandler,
    ContextTypes,
    MessageHandler,
    TypeHandler,
    filters,
)

from mlsys import services
from mlsys.phone import NoReply, Phone
from mlsys.services import Expect, Say, replay
from mlsys.serving import bots

Context = ContextTypes.DEFAULT_TYPE


@pytest.fixture
def telegram():
    with services.bot_api() as api:
        yield api


# The bot of these tests: one handler for each thing that a phone can do.


async def start(update: Update, context: Context) -> None:
    keys = [InlineKeyboardButton(word, callback_data=word) for word in ("spam", "ham")]
    await update.message.reply_text(
        f"Hello {update.effective_user.first_name}, {' '.join(context.args)}",
        reply_markup=InlineKeyboardMarkup([keys]),
    )


async def tapped(update: Update, context: Context) -> None:
    query = update.callback_query
    await query.answer(f"You said {query.data}")
    await query.edit_message_text(f"Noted: {query.data}")


async def echo(update: Update, context: Context) -> None:
    if update.message.text == "boom":
        raise ValueError("no model")
    earlier = update.message.reply_to_message
    said = f"{earlier.text} / " if earlier else ""
    await update.message.reply_text(said + update.message.text, do_quote=True)


async def back(update: Update, context: Context) -> None:
    """The photo turned by a quarter, uploaded, and then the user's own by its id."""
    file = await update.message.photo[-1].get_file()
    image = Image.open(io.BytesIO(await file.download_as_bytearray())).rotate(90, expand=True)
    turned = io.BytesIO()
    image.save(turned, "PNG")
    await update.message.reply_photo(turned.getvalue(), caption="turned")
    await update.message.reply_photo(update.message.photo[-1].file_id)


def teach(app: Application) -> None:
    app.add_handler(CommandHandler("start", start))
    app.add_handler(CallbackQueryHandler(tapped))
    app.add_handler(MessageHandler(filters.PHOTO, back))
    app.add_handler(MessageHandler(filters.TEXT, echo))


def converse(api: services.BotApi, talk, **options: object) -> object:
    """Run the bot of these tests and `talk(phone, bot)` beside it, in one loop."""

    async def both() -> object:
        app = bots.builder(api).build()
        teach(app)
        async with bots.running(app, **options) as bot:
            return await talk(Phone(api, "Ada"), bot)

    return asyncio.run(both())


# Under python-telegram-bot


def test_commands_taps_replies_and_photos_go_both_ways(telegram) -> None:
    async def talk(phone: Phone, bot: bots.running) -> None:
        phone.say("/start one two")
        hello = await phone.reply()
        assert (hello.text, hello.buttons) == ("Hello Ada, one two", (("spam", "ham"),))
        phone.tap("ham")
        notice, edit = await phone.replies(2)
        assert (notice.kind, notice.text) == ("notice", "You said ham")
        assert (edit.kind, edit.text, edit.buttons) == ("edit", "Noted: ham", ())
        assert edit.message_id == hello.message_id
        asked = phone.say("why?", reply_to=hello)
        answer = await phone.reply()
        assert (asked.reply_to, answer.text) == ("Noted: ham", "Noted: ham / why?")
        assert answer.reply_to == "why?"
        phone.send_photo(np.linspace(0, 1, 600).reshape(20, 30), "look")
        turned, same = await phone.replies(2)
        assert (turned.size, turned.text, same.size) == ((20, 30), "turned", (30, 20))
        assert Image.open(io.BytesIO(turned.photo)).size == (20, 30)
        assert bot.errors == []

    converse(telegram, talk)


def test_a_bot_that_raises_goes_on_and_says_what_it_was(telegram, caplog) -> None:
    async def talk(phone: Phone, bot: bots.running) -> None:
        phone.say("boom")
        phone.say("still there?")
        assert (await phone.reply()).text == "still there?"
        assert [str(error) for error in bot.errors] == ["no model"]
        assert "ValueError: no model" in repr(bot)
        async with asyncio.timeout(20):
            while telegram.waiting:  # until its next call, which confirms the last
                await asyncio.sleep(0.01)
        with pytest.raises(NoReply, match="the bot has fetched the message"):
            await phone.reply(timeout=0.05)

    converse(telegram, talk)
    assert "ValueError: no model (line" in caplog.text
    assert "Traceback" not in caplog.text


def test_updates_of_a_kind_that_no_library_knows_pass_by(telegram) -> None:
    async def talk(phone: Phone, bot: bots.running) -> None:
        telegram.push({"thought_of_2031": {"strength": 3}})
        phone.say("and now?")
        assert (await phone.reply()).text == "and now?"

    converse(telegram, talk)
    assert telegram.waiting == 0


def test_a_slow_bot_is_waited_for_and_two_are_served_at_once_where_it_may(telegram) -> None:
    """Each handler waits until the other has begun: one at a time, neither would end."""

    async def both() -> None:
        meeting = asyncio.Barrier(2)

        async def slow(update: Update, context: Context) -> None:
            await update.effective_chat.send_action("typing")
            await meeting.wait()
            await update.message.reply_text("at last")

        app = bots.builder(telegram).concurrent_updates(4).build()
        app.add_handler(TypeHandler(Update, slow))
        phone, other = Phone(telegram, "Ada"), Phone(telegram, "Bob")
        async with bots.running(app):
            phone.say("slow")
            with telegram.chats.watching() as change:
                while not phone.typing:
                    await asyncio.wait_for(change.wait(), 10)
                    change.clear()
            with pytest.raises(NoReply, match=r"within 0\.01 s"):
                await phone.reply(timeout=0.01)
            other.say("me too")
            assert (await phone.reply()).text == (await other.reply()).text == "at last"
            assert not phone.typing

    asyncio.run(both())


@pytest.mark.parametrize("at_once", [1, 4])
def test_a_handler_that_never_ends_does_not_hold_the_stop(telegram, monkeypatch, at_once) -> None:
    monkeypatch.setattr(bots, "GRACE_S", 0.05)

    async def both() -> list[str]:
        begun, ended = asyncio.Event(), []

        async def endless(update: Update, context: Context) -> None:
            try:
                begun.set()
                await asyncio.Event().wait()
            finally:
                ended.append("cancelled")

        app = bots.builder(telegram).concurrent_updates(at_once).build()
        app.add_handler(TypeHandler(Update, endless))
        async with bots.running(app):
            Phone(telegram, "Ada").say("hello")
            await asyncio.wait_for(begun.wait(), 10)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return ended

    assert asyncio.run(both()) == ["cancelled"]


def test_what_is_said_in_an_outage_is_answered_once_after_it(telegram) -> None:
    async def talk(phone: Phone, bot: bots.running) -> None:
        phone.say("before")
        await phone.reply()
        with telegram.outage():
            phone.say("during")
            with pytest.raises(NoReply, match="server has stopped"):
                await phone.reply(timeout=0.01)
            async with asyncio.timeout(20):
                while not bot.unreached:
                    await asyncio.sleep(0.01)
        assert (await phone.reply(timeout=20)).text == "during"
        phone.say("after")
        assert (await phone.reply()).text == "after"

    converse(telegram, talk)
    assert Phone(telegram, "Ada").conversation.heard == ("before", "during", "after")
    assert telegram.waiting == 0


def test_a_bot_that_is_started_again_does_not_meet_old_messages(telegram) -> None:
    async def both() -> int:
        phone, app = Phone(telegram, "Ada"), bots.builder(telegram).build()
        teach(app)
        bot = bots.running(app)
        heard = []
        for word in ("one", "two", "three"):
            phone.say(word)
            async with bot:
                heard.append((await phone.reply()).text)
            assert not bot.alive
        assert heard == ["one", "two", "three"] and telegram.waiting == 0
        async with bot:
            with pytest.raises(bots.BotError, match="runs already"):
                await bot.start()
            phone.say("boom")
            phone.say("four")
            assert (await phone.reply()).text == "four"
        return len(bot.errors)

    assert asyncio.run(both()) == 1  # noted once, however often the bot was started
    assert Phone(telegram, "Ada").conversation.heard == ("one", "two", "three", "four")


def test_two_pollers_are_told_that_only_one_may_run(telegram) -> None:
    async def both() -> None:
        older = await bots.running(bots.builder(telegram).build()).start()
        newer = await bots.running(bots.builder(telegram).build()).start()
        try:
            async with asyncio.timeout(20):
                while not (older.unreached or newer.unreached):
                    await asyncio.sleep(0.01)
            assert "only one bot instance" in str((older.unreached or newer.unreached)[0])
        finally:
            await newer.stop()
            await older.stop()

    asyncio.run(both())


@pytest.mark.filterwarnings("ignore:Deprecated since version v22.2")
def test_more_messages_than_the_limit_are_refused_with_a_time_to_wait() -> None:
    async def flood(api: services.BotApi) -> RetryAfter:
        chat = Phone(api, "Ada").chat_id
        other = Phone(api, "Bob").chat_id
        async with bots.builder(api).build().bot as bot:
            await bot.send_message(chat, "one")
            await bot.send_message(other, "another chat has its own limit")
            with pytest.raises(RetryAfter) as told:
                await bot.send_message(chat, "two")
            return told.value

    with services.bot_api(per_second=0.2) as api:
        told = asyncio.run(flood(api))
        assert 1 <= told.retry_after <= 6
        assert Phone(api, "Ada").conversation.heard == ("one",)


def test_a_wrong_token_and_a_missing_one_are_one_sentence(telegram, monkeypatch) -> None:
    monkeypatch.setenv(bots.URL, telegram.url)
    monkeypatch.setenv(bots.TOKEN, "1234567:wrong")

    async def begin() -> None:
        await bots.running(bots.builder().build()).start()

    with pytest.raises(bots.BotError, match="does not know this token"):
        asyncio.run(begin())
    monkeypatch.delenv(bots.TOKEN)
    with pytest.raises(bots.BotError, match=bots.TOKEN):
        bots.builder()


def test_without_a_local_server_the_same_builder_speaks_to_telegram(monkeypatch) -> None:
    monkeypatch.delenv(bots.URL, raising=False)
    monkeypatch.setenv(bots.TOKEN, "1234567:secret")
    bot = bots.builder().build().bot
    assert bot.base_url == "https://api.telegram.org/bot1234567:secret"
    assert bot.base_file_url == "https://api.telegram.org/file/bot1234567:secret"


def test_a_bot_in_its_own_process_is_found_by_its_environment(telegram, tmp_path) -> None:
    (tmp_path / "pupil.py").write_text(
        "from telegram.ext import MessageHandler, filters\n"
        "async def answer(update, context):\n"
        "    await update.message.reply_text(update.message.text[::-1])\n"
        "def teach(app):\n"
        "    app.add_handler(MessageHandler(filters.TEXT, answer))\n"
    )
    bot = services.worker(
        "mlsys.serving.bots", "pupil:teach", env=telegram.env, ready="bot ready", cwd=tmp_path
    )
    with bot as group:
        phone = Phone(telegram, "Ada")
        script = ["abc", Expect(text="cba"), Say("de"), Expect(text="ed")]
        held = asyncio.run(replay(phone, script, timeout=20))
        assert held.ok, held
    assert not any(psutil.pid_exists(pid) for pid in group.pids)


def test_through_a_cut_link_nothing_comes_and_after_it_heals_all_does(telegram) -> None:
    async def talk(api: services.BotApi, link: services.Link) -> None:
        app = bots.builder(api).build()
        teach(app)
        async with bots.running(app):
            phone = Phone(api, "Ada")
            link.delay(0.02)
            phone.say("slowly")
            assert (await phone.reply()).text == "slowly"

    with services.proxy(telegram.port) as link:
        asyncio.run(talk(telegram.via(link), link))


def test_refusals_reach_the_library_as_its_own_errors(telegram) -> None:
    async def provoke() -> None:
        async with bots.builder(telegram).build().bot as bot:
            with pytest.raises(BadRequest, match="Chat not found"):
                await bot.send_message(5, "x")
            with pytest.raises(TelegramError, match=r"(?i)has no method 'sendDice'"):
                await bot.send_dice(5)

    asyncio.run(provoke())
