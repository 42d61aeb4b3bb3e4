"""What the cells of a real kernel show, read from messages of which nobody vouches for the shape:
text and displays within bounds, updates of what is displayed already, and what an `Output` of
ipywidgets takes in, which the widget is told as a notebook's page would tell it.
"""

import re
from typing import Any

import msgspec

from autograde.protect.shell import Recorder
from autograde.protect.steps import Output

_MOST_OUTPUT = 10_000_000  # characters of one cell, after which it is interrupted
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class OutputWidgets:
    """The `Output` widgets of one kernel, by the numbers of their comms, with what each has taken
    in. `taking` are those that take what a request shows at present, by the request's number.
    """

    def __init__(self) -> None:
        self.recorders: dict[str, Recorder] = {}
        self.taking: dict[str, str] = {}
        self.changed: set[str] = set()

    def hear(self, kind: str, content: dict[str, Any]) -> None:
        """Take in a message of the kernel to its widgets' views."""
        data, comm = content.get("data"), str(content.get("comm_id"))
        state = data.get("state") if isinstance(data, dict) else None
        if not isinstance(state, dict):
            return
        opens = kind == "comm_open" and state.get("_model_name") == "OutputModel"
        if not opens and comm not in self.recorders:
            return
        if opens or state.get("outputs") == []:
            self.recorders[comm] = Recorder()
        if "msg_id" in state:
            self.taking = {request: c for request, c in self.taking.items() if c != comm}
            if state["msg_id"]:
                self.taking[str(state["msg_id"])] = comm

    def taker(self, request: str) -> Recorder | None:
        """Where what this request shows now goes as well."""
        if (comm := self.taking.get(request)) is None:
            return None
        self.changed.add(comm)
        return self.recorders[comm]

    def news(self) -> list[dict[str, Any]]:
        """Messages that tell widgets what they have taken in, each once."""
        changed, self.changed = sorted(self.changed), set()
        return [
            {
                "comm_id": comm,
                "data": {
                    "method": "update",
                    "state": {"outputs": _as_data(self.recorders[comm].outputs)},
                    "buffer_paths": [],
                },
            }
            for comm in changed
        ]


class Shown:
    """What the cell with this request's number shows."""

    def __init__(self, request: str, widgets: OutputWidgets) -> None:
        self.request, self.widgets = request, widgets
        self.recorder = Recorder()
        self.size = 0
        self.event = ""
        self.failed = self.asks_to_end = self.clears = False

    def is_of(self, message: dict[str, Any]) -> bool:
        """Whether a message belongs to this cell, and is shaped like one."""
        parent = message.get("parent_header")
        return (
            isinstance(parent, dict)
            and parent.get("msg_id") == self.request
            and isinstance(message.get("header"), dict)
            and isinstance(message.get("content"), dict)
        )

    def add(self, message: dict[str, Any]) -> bool:
        """Take one message in; whether it is the last of its cell."""
        kind, content = message["header"].get("msg_type"), message["content"]
        if kind == "status":
            return content.get("execution_state") == "idle"
        if kind in ("comm_open", "comm_msg"):
            self.widgets.hear(kind, content)
        elif kind == "clear_output":
            self._clear(wait=bool(content.get("wait")))
        elif kind in ("stream", "display_data", "execute_result", "update_display_data", "error"):
            if self.clears:
                self._clear(wait=False)
            self._show(kind, content)
        if self.size > _MOST_OUTPUT and not self.event:
            self.event = f"stopped after {_MOST_OUTPUT / 1e6:.0f} MB of output"
        return False

    def _show(self, kind: str, content: dict[str, Any]) -> None:
        taker = self.widgets.taker(self.request)
        recorders = [self.recorder] if taker is None else [self.recorder, taker]
        if kind == "error":
            self._fail(content, taker)
        elif kind == "stream":
            text = str(content.get("text", ""))
            self.size += len(text)
            for recorder in recorders:
                recorder.stream("stderr" if content.get("name") == "stderr" else "stdout", text)
        else:
            data = content.get("data")
            data = {str(k): str(v) for k, v in data.items()} if isinstance(data, dict) else {}
            if "text/plain" in data:
                data["text/plain"] = _COLOURS.sub("", data["text/plain"])
            self.size += sum(map(len, data.values()))
            about = content.get("transient")
            name = about.get("display_id") if isinstance(about, dict) else None
            update = kind == "update_display_data"
            for recorder in recorders:
                recorder.display(kind, data, name=name, update=update)

    def _clear(self, *, wait: bool) -> None:
        self.clears = wait
        taker = self.widgets.taker(self.request)
        if not wait:
            (taker or self.recorder).outputs.clear()

    def add_reply(self, message: dict[str, Any]) -> None:
        """Take in what the kernel says of the cell when that has ended."""
        content = message["content"]
        if content.get("status") == "error" and not self.failed:
            self._fail(content, None)
        payload = content.get("payload")
        for part in payload if isinstance(payload, list) else []:
            if isinstance(part, dict) and part.get("source") == "ask_exit":
                self.asks_to_end = not part.get("keepkernel")

    def _fail(self, content: dict[str, Any], taker: Recorder | None) -> None:
        name, text = str(content.get("ename") or "Error"), str(content.get("evalue", ""))
        lines = content.get("traceback")
        lines = [str(line) for line in lines] if isinstance(lines, list) else []
        lines = [line[:10_000] for line in lines[-60:]] or [f"{name}: {text}"[:10_000]]
        output = {
            "output_type": "error", "ename": name[:200], "evalue": text[:10_000],
            "traceback": lines,
        }  # fmt: skip
        if taker is None:
            self.failed = True
            self.recorder.outputs.append(output)
        else:  # the widget shows it, and the cell has not failed
            taker.outputs.append(output)
            self.recorder.stream("stdout", "\n".join(lines) + "\n")

    def take(self) -> list[Output]:
        return msgspec.convert(self.recorder.take(), list[Output])


def _as_data(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A recorder's outputs as a notebook has them."""
    return [
        {"output_type": "stream", "name": output["name"], "text": "".join(output["parts"])}
        if "parts" in output
        else output
        for output in outputs
    ]
