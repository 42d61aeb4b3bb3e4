"""The chat panel in a real browser. Its script runs as it is, and every act of the browser's and
every state of the panel's is carried between them here, in place of a kernel's comm.

What JupyterLab adds (loading the widget, the comm) belongs to anywidget and ipywidgets.
"""

import io
import json

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Page, expect

from mlsys import services
from mlsys.phone import Phone
from mlsys.phone_panel import Panel

pytestmark = pytest.mark.e2e

# The model that anywidget hands to `render`: traits, their changes, messages.
MODEL = """
const listeners = {}, sent = [];
let traits = {};
window.model = {
  get: (name) => traits[name],
  on: (event, act) => (listeners[event] ??= new Set()).add(act),
  off: (event, act) => listeners[event].delete(act),
  send: (said, _, buffers) => sent.push([said, (buffers ?? []).map((b) => b.byteLength)]),
};
window.taken = () => sent.splice(0);
window.update = (state) => {
  const changed = Object.keys(state).filter(
    (name) => JSON.stringify(state[name]) !== JSON.stringify(traits[name]));
  traits = state;
  for (const name of changed) for (const act of listeners[`change:${name}`] ?? []) act();
};
window.listening = () => Object.values(listeners).reduce((sum, set) => sum + set.size, 0);
"""


class Screen:
    """A panel and the page that shows it."""

    def __init__(self, page: Page, phone: Phone) -> None:
        self.page, self.panel = page, Panel(phone)
        # No kernel's loop is here to bring the panel up to date: `carry` does it.
        self.panel._loop = None
        page.set_content("<html lang='en'><title>phone</title><main></main></html>")
        page.add_style_tag(content=Panel._css)
        page.evaluate(MODEL)
        self.show()
        page.evaluate(
            "async (code) => {"
            " const module = await import(URL.createObjectURL("
            "   new Blob([code], { type: 'text/javascript' })));"
            " window.stop = module.default.render("
            "   { model, el: document.querySelector('main') }); }",
            Panel._esm,
        )

    def show(self) -> None:
        names = ("bot", "user", "place", "status", "problem", "bubbles", "photos", "keyboard")
        state = {name: getattr(self.panel, name) for name in (*names, "commands")}
        self.page.evaluate("(state) => update(state)", json.loads(json.dumps(state)))

    def carry(self, photo: bytes = b"") -> list[dict]:
        """What the browser sent, done on this side, and shown."""
        sent = self.page.evaluate("taken()")
        for said, sizes in sent:
            assert sizes == ([len(photo)] if said["kind"] == "photo" else [])
            self.panel._done(self.panel, said, [photo] if sizes else [])
        self.show()
        return [said for said, _ in sent]


def test_the_panel_writes_replies_taps_and_sends_photos_and_shows_text_as_text(browser) -> None:
    page = browser.new_page(viewport={"width": 460, "height": 620})
    failed: list[str] = []
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.on("dialog", lambda dialog: failed.append(dialog.message))
    with services.bot_api(name="<b>Bot</b>") as api:
        phone, chats = Phone(api, "Ada"), api.chats
        screen = Screen(page, phone)
        page.get_by_role("button", name="/start").click()
        assert screen.carry() == [{"kind": "say", "text": "/start"}]

        markup = {"inline_keyboard": [[{"text": "<i>yes", "callback_data": "y"}]]}
        nasty = "<img src=x onerror=alert(1)> & <script>alert(2)</script>"
        chats.post(phone.chat_id, chats.me, {"text": nasty}, reply_to=None, markup=markup)
        screen.show()
        assert page.locator(".phone-text").last.inner_text() == nasty
        assert page.locator(".phone-log script, .phone-log img, .phone i").count() == 0

        page.get_by_role("button", name="<i>yes").click()
        assert screen.carry()[0]["kind"] == "tap"
        expect(page.get_by_text("Ada taps “<i>yes”")).to_be_visible()

        page.locator(".phone-row").last.hover()
        page.get_by_role("button", name="Reply to this message").last.click()
        box = page.get_by_role("textbox", name="Message")
        box.fill("first line")
        box.press("Shift+Enter")
        box.type("second line")
        box.press("Enter")
        assert screen.carry() == [{"kind": "say", "text": "first line\nsecond line", "reply_to": 2}]
        assert phone.conversation[-1].reply_to == nasty and box.input_value() == ""
        box.press("Enter")
        assert screen.carry() == []

        shot = io.BytesIO()
        Image.new("RGB", (40, 20), "red").save(shot, "PNG")
        chosen = {"name": "a.png", "mimeType": "image/png", "buffer": shot.getvalue()}
        box.fill("look")
        page.locator("input[type=file]").set_input_files(chosen)
        expect(box).to_have_value("")
        assert screen.carry(shot.getvalue()) == [{"kind": "photo", "caption": "look"}]
        expect(page.get_by_role("img", name="photo, 40 by 20 pixels")).to_be_visible()

        chats.commands = [{"command": "stats", "description": "how many"}]
        screen.panel._refresh()
        screen.show()
        box.fill("/st")
        page.get_by_role("button", name="/stats how many").click()
        assert screen.carry()[0]["text"] == "/stats"

        for number in range(30):
            body = {"text": f"message {number}"}
            chats.post(phone.chat_id, chats.me, body, reply_to=None, markup=None)
        screen.show()
        expect(page.get_by_text("message 29")).to_be_in_viewport()

        faults = Axe().run(page, context=".phone").response["violations"]
        assert [fault["id"] for fault in faults] == []
        page.evaluate("stop()")
        assert page.evaluate("listening()") == 0
    assert failed == []
    page.close()
