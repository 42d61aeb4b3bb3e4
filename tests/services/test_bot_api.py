"""The local Bot API by plain HTTP: parameters, refusals, updates, photos, its start and its end."""

import asyncio
import io
import json
import threading

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from telegram import ReplyKeyboardMarkup
from telegram.ext import (
    ContextTypes,
)

from mlsys import services
from mlsys.phone import Phone
from mlsys.services.bot_api_chats import Chats
from mlsys.services.bot_api_errors import Refusal
from mlsys.services.bot_api_methods import METHODS, Arguments, Poll
from mlsys.services.bot_api_methods import call as carry_out
from mlsys.services.bot_api_photos import photo_sizes
from mlsys.services.bot_api_text import parsed

Context = ContextTypes.DEFAULT_TYPE


@pytest.fixture
def telegram():
    with services.bot_api() as api:
        yield api


class Caller:
    """The API by hand: one method a call, the whole answer back."""

    def __init__(self, api: services.BotApi) -> None:
        self.address = f"{api.base_url}{api.token}"
        self.client = httpx.Client(trust_env=False, timeout=20)

    def __call__(self, method: str, **values: object) -> dict:
        return self.client.post(f"{self.address}/{method}", json=values).json()


@pytest.fixture
def call(telegram):
    caller = Caller(telegram)
    yield caller
    caller.client.close()


def test_the_four_ways_to_give_parameters_are_the_same(telegram, call) -> None:
    chat = Phone(telegram, "Ada").chat_id
    client, address = call.client, f"{call.address}/sendMessage"
    values = {"chat_id": str(chat), "text": "one & two"}
    answers = [
        client.get(address, params=values),
        client.post(address, data=values),
        client.post(address, json=values),
        client.post(address, data=values, files={"unused": b"x"}),
    ]
    assert [answer.json()["result"]["text"] for answer in answers] == ["one & two"] * 4
    assert [answer.json()["result"]["message_id"] for answer in answers] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("method", "values", "code", "words"),
    [
        ("sendMessage", {"chat_id": 5, "text": "x"}, 400, "chat not found"),
        ("sendMessage", {"chat_id": "@news", "text": "x"}, 400, "chat not found"),
        ("sendMessage", {"text": "x"}, 400, "chat_id is empty"),
        ("sendMessage", {"chat_id": 1001, "text": " "}, 400, "message text is empty"),
        ("sendMessage", {"chat_id": 1001, "text": "x" * 4097}, 400, "message is too long"),
        (
            "sendMessage",
            {"chat_id": 1001, "text": "x", "reply_parameters": {"message_id": 9}},
            400,
            "message to be replied not found",
        ),
        (
            "sendMessage",
            {"chat_id": 1001, "text": "x", "reply_markup": "{"},
            400,
            "can't parse reply_markup JSON object",
        ),
        (
            "sendMessage",
            {
                "chat_id": 1001,
                "text": "x",
                "reply_markup": {"inline_keyboard": [[{"text": "a", "callback_data": "é" * 33}]]},
            },
            400,
            "BUTTON_DATA_INVALID",
        ),
        ("sendMessage", {"chat_id": 1001, "text": "<b>x", "parse_mode": "HTML"}, 400, "end tag"),
        ("sendPhoto", {"chat_id": 1001, "photo": "nothing"}, 400, "wrong file identifier"),
        ("editMessageText", {"chat_id": 1001, "message_id": 8, "text": "x"}, 400, "not found"),
        ("editMessageText", {"chat_id": 1001, "message_id": 1, "text": "x"}, 400, "be edited"),
        ("answerCallbackQuery", {"callback_query_id": "7"}, 400, "query is too old"),
        ("getFile", {"file_id": "x"}, 400, "wrong file_id"),
        ("getUpdates", {"offset": "soon"}, 400, "'offset' must be a number"),
        ("setMyCommands", {"commands": [{"command": "No!"}]}, 400, "BOT_COMMAND_INVALID"),
        ("setWebhook", {"url": "https://example.org/hook"}, 400, "127.0.0.1 only"),
        ("sendDice", {}, 400, "has no method 'sendDice'"),
    ],
)
def test_a_wrong_call_is_refused_in_telegrams_own_words(
    telegram, call, method, values, code, words
) -> None:
    Phone(telegram, "Ada").say("the user's own message")
    answer = call(method, **values)
    assert (answer["ok"], answer["error_code"]) == (False, code)
    assert words in answer["description"]
    assert len(Phone(telegram, "Ada").conversation) == 1  # nothing half-done


def test_tokens_paths_and_sizes_are_checked(telegram) -> None:
    with httpx.Client(trust_env=False, timeout=20, base_url=telegram.url) as client:
        wrong = client.get("/bot1:no/getMe")
        assert (wrong.status_code, wrong.json()["description"]) == (401, "Unauthorized")
        for path in ("/", "/bot/getMe", "/botnothing/getMe", f"/bot{telegram.token}", "/etc/bot"):
            assert client.get(path).status_code == 404, path
        assert client.get(f"/file/bot{telegram.token}/../../etc/passwd").status_code == 404
        assert client.get("/file/bot1:no/photos/file_1.jpg").status_code == 401
        address = f"/bot{telegram.token}/sendMessage"
        huge = client.post(address, content=b"x" * (13 * 2**20))
        assert (huge.status_code, huge.json()["error_code"]) == (413, 413)
        for body in (b"[1]", b"{", b"[" * 100_000):
            answer = client.post(
                address, content=body, headers={"content-type": "application/json"}
            )
            assert answer.status_code == 400
        torn = {"content-type": "multipart/form-data; boundary=b"}
        assert client.post(address, content=b"--c\r\n\r\n", headers=torn).status_code == 400
        assert (
            client.get(f"/bot{telegram.token}/getMe").json()["result"]["username"] == "course_bot"
        )


def test_updates_come_again_until_their_number_is_passed(telegram, call) -> None:
    phone = Phone(telegram, "Ada")
    for word in ("one", "two", "three"):
        phone.say(word)
    first = call("getUpdates", limit=2)["result"]
    assert [update["message"]["text"] for update in first] == ["one", "two"]
    assert call("getUpdates", limit=2)["result"] == first
    rest = call("getUpdates", offset=first[-1]["update_id"] + 1)["result"]
    assert [update["message"]["text"] for update in rest] == ["three"]
    assert [u["message"]["text"] for u in call("getUpdates", offset=-1)["result"]] == ["three"]
    assert call("getUpdates", offset=rest[-1]["update_id"] + 1)["result"] == []
    assert telegram.waiting == 0


def test_a_long_poll_is_answered_by_the_next_message_and_by_the_servers_end() -> None:
    with services.bot_api() as api:
        phone, answers = Phone(api, "Ada"), []

        def poll() -> None:
            caller = Caller(api)
            answers.append(caller("getUpdates", timeout=50)["result"])
            caller.client.close()

        def begun() -> threading.Thread:
            before = api.chats.fetched_at
            thread = threading.Thread(target=poll)
            thread.start()
            while api.chats.fetched_at == before and thread.is_alive():
                thread.join(0.005)
            return thread

        first = begun()
        phone.say("now")
        first.join(20)
        assert [update["message"]["text"] for update in answers[0]] == ["now"]
        api.chats.confirm(answers[0][0]["update_id"] + 1)
        last = begun()
    last.join(20)
    assert answers[1:] == [[]]


def test_a_poll_whose_client_has_hung_up_takes_nothing_with_it(telegram, call) -> None:
    phone = Phone(telegram, "Ada")
    with pytest.raises(httpx.ReadTimeout):
        hurried = httpx.Timeout(20, read=0.2)
        call.client.post(f"{call.address}/getUpdates", json={"timeout": 50}, timeout=hurried)
    phone.say("not lost")
    assert len(call("getUpdates")["result"]) == 1


def test_groups_hold_several_users_and_private_chats_stay_private(telegram, call) -> None:
    ada, bob = (Phone(telegram, name, group="Team") for name in ("Ada", "Bob"))
    alone = Phone(telegram, "Bob")
    ada.say("hello all")
    bob.say("hello Ada")
    sent = call("getUpdates")["result"]
    assert {update["message"]["chat"]["type"] for update in sent} == {"group"}
    assert [update["message"]["from"]["first_name"] for update in sent] == ["Ada", "Bob"]
    assert ada.conversation == bob.conversation and len(alone.conversation) == 0
    assert call("getChat", chat_id=ada.chat_id)["result"]["title"] == "Team"
    assert "Ada, Team, Bob" in repr(telegram) and "Team" in telegram._repr_html_()


def test_keyboards_commands_deletion_and_html_are_as_the_api_has_them(telegram, call) -> None:
    phone = Phone(telegram, "Ada")
    keys = ReplyKeyboardMarkup([["red", "blue"]]).to_dict()
    sent = call(
        "sendMessage",
        chat_id=phone.chat_id,
        text="Which <b>colour</b> &amp; why 🎈 <i>x</i>",
        parse_mode="HTML",
        reply_markup=keys,
    )["result"]
    assert sent["text"] == "Which colour & why 🎈 x"
    assert [(e["type"], e["offset"], e["length"]) for e in sent["entities"]] == [
        ("bold", 6, 6),
        ("italic", 22, 1),
    ]
    assert phone.keyboard == (("red", "blue"),)
    assert phone.tap("blue").text == "blue"
    assert call("setMyCommands", commands=[{"command": "go", "description": "Go"}])["result"]
    assert call("getMyCommands")["result"][0]["command"] == "go"
    assert call("deleteMessage", chat_id=phone.chat_id, message_id=1)["result"]
    assert "(deletes) Which colour" in str(phone.conversation)
    assert call("sendChatAction", chat_id=phone.chat_id, action="typing")["result"]
    assert phone.typing
    same = call("sendMessage", chat_id=phone.chat_id, text="same")["result"]["message_id"]
    again = call("editMessageText", chat_id=phone.chat_id, message_id=same, text="same")
    assert "message is not modified" in again["description"]


def test_a_webhook_is_posted_each_update_until_it_takes_it(telegram, call) -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer

    taken: list[tuple[str, str]] = []
    refusals = iter([500])

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            taken.append((self.headers["x-telegram-bot-api-secret-token"], body.decode()))
            self.send_response(next(refusals, 200))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        server.timeout = 60
        address = f"http://127.0.0.1:{server.server_port}/hook"
        assert call("setWebhook", url=address, secret_token="s3cret")["ok"]
        assert call("getUpdates")["error_code"] == 409
        phone = Phone(telegram, "Ada")
        phone.say("one")
        for _ in range(2):
            server.handle_request()
        assert [secret for secret, _ in taken] == ["s3cret"] * 2
        assert taken[0][1] == taken[1][1] and '"one"' in taken[0][1]
        info = call("getWebhookInfo")["result"]
        assert info["url"] == address and "500" in info["last_error_message"]
        assert call("deleteWebhook")["ok"]


def test_a_button_answers_once_and_only_a_picture_is_a_photo(telegram, call) -> None:
    phone = Phone(telegram, "Ada")
    keys = {"inline_keyboard": [[{"text": "go", "callback_data": "g"}]]}
    call("sendMessage", chat_id=phone.chat_id, text="?", reply_markup=keys)
    phone.tap("go")
    query = call("getUpdates")["result"][-1]["callback_query"]["id"]
    assert call("answerCallbackQuery", callback_query_id=query)["ok"]
    assert not call("answerCallbackQuery", callback_query_id=query)["ok"]
    send = f"{call.address}/sendPhoto"
    for content, words in (
        (b"no picture", "IMAGE_PROCESS_FAILED"),
        (b"", "non-empty"),
        (_png(9000, 2000), "PHOTO_INVALID_DIMENSIONS"),
        (_png(100, 2), "PHOTO_INVALID_DIMENSIONS"),
    ):
        sent = call.client.post(send, data={"chat_id": phone.chat_id}, files={"photo": content})
        assert words in sent.json()["description"]
    big = call.client.post(
        send, data={"chat_id": phone.chat_id}, files={"photo": _png(1600, 800)}
    ).json()["result"]["photo"]
    assert [(size["width"], size["height"]) for size in big] == [
        (90, 45),
        (320, 160),
        (800, 400),
        (1280, 640),
    ]
    path = call("getFile", file_id=big[0]["file_id"])["result"]["file_path"]
    file = call.client.get(f"{telegram.base_file_url}{telegram.token}/{path}")
    assert Image.open(io.BytesIO(file.content)).size == (90, 45)


def _png(width: int, height: int) -> bytes:
    written = io.BytesIO()
    Image.new("1", (width, height)).save(written, "PNG")
    return written.getvalue()


# Laws


WORDS = st.sampled_from(
    "message_id text callback_data inline_keyboard keyboard remove_keyboard command url".split()
)


@settings(max_examples=50)
@given(st.text(max_size=60))
def test_plain_text_survives_html_when_it_is_escaped(text: str) -> None:
    import html

    assert parsed(html.escape(text), "HTML")[0] == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(
    "chat_id text caption parse_mode photo message_id reply_to_message_id reply_parameters"
    " reply_markup entities callback_query_id action file_id commands url offset limit"
    " allowed_updates allow_sending_without_reply drop_pending_updates".split()
)
ODD = st.sampled_from(
    [
        1001,
        "1001",
        "1",
        '{"inline_keyboard": [[{"text": "a"}]]}',
        "http://[",
        "HTML",
        "<b>x</b>",
        "\ud800",
    ]
)


@settings(max_examples=120)
@given(st.sampled_from(["getUpdates", *METHODS]), st.dictionaries(NAMES, JSON | ODD, max_size=5))
def test_any_arguments_are_carried_out_or_refused(method: str, values: dict) -> None:
    chats = Chats(username="bot", first_name="Bot")
    chats.say(1001, chats.add_user("Ada", "en"), "hello")
    values.setdefault("chat_id", 1001)
    try:
        result = asyncio.run(carry_out(chats, Poll(closing=True), method, Arguments(values)))
    except Refusal as no:
        assert 400 <= no.code < 500 and no.description
    else:
        json.dumps(result, ensure_ascii=False).encode()


@settings(max_examples=30)
@given(st.binary(max_size=300))
def test_bytes_that_are_no_picture_are_refused_never_an_error(content: bytes) -> None:
    with pytest.raises(Refusal):
        photo_sizes(content)


def test_no_thread_is_left_after_the_with() -> None:
    before = set(threading.enumerate())
    with services.bot_api() as api:
        caller = Caller(api)  # a connection kept alive does not hold the end
        caller("getMe")
        assert api.alive and set(threading.enumerate()) != before
        with pytest.raises(services.ServiceError, match="no process to kill"):
            api.kill()
    assert not api.alive and set(threading.enumerate()) <= before
    caller.client.close()
    with pytest.raises(services.ServiceError, match="more than 0"), services.bot_api(per_second=0):
        pass
