"""One request in XML, JSON and MessagePack: bytes and time. The meaning of the fields is ours."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from timeit import repeat
from typing import Any

import msgspec
import pandas as pd

Request = dict[str, Any]


def to_xml(request: Request) -> bytes:
    """`{"id": 7, "model": "digits", "pixels": [3, 0]}` with one element a pixel."""
    root = ET.Element("request", {key: str(request[key]) for key in ("id", "model")})
    for value in request["pixels"]:
        ET.SubElement(root, "p").text = str(value)
    return ET.tostring(root)


def from_xml(data: bytes) -> Request:
    """The request again. XML holds text only: which fields are numbers is written here."""
    root = ET.fromstring(data)
    pixels = [int(element.text or 0) for element in root]
    return {"id": int(root.get("id", 0)), "model": root.get("model"), "pixels": pixels}


def to_json(request: Request) -> bytes:
    return json.dumps(request).encode()


FORMATS: dict[str, tuple[Callable[[Request], bytes], Callable[[bytes], Request]]] = {
    "XML": (to_xml, from_xml),
    "JSON": (to_json, json.loads),
    "MessagePack": (msgspec.msgpack.encode, msgspec.msgpack.decode),
}


def compare(request: Request, *, calls: int = 100) -> pd.DataFrame:
    """Bytes, and µs to write and to read, one row a format; each is read back and compared.

    A time is the least of seven means over so many calls: what a busy machine adds is left out.
    """
    rows = {}
    for name, (write, read) in FORMATS.items():
        data = write(request)
        if read(data) != request:
            raise ValueError(f"{name} does not give back what was written.")
        micros = [
            round(1e6 / calls * min(repeat(lambda do=do, x=x: do(x), repeat=7, number=calls)), 1)
            for do, x in ((write, request), (read, data))
        ]
        rows[name] = [len(data), *micros]
    table = pd.DataFrame(rows, index=["bytes", "µs to write", "µs to read"]).T
    return table.astype({"bytes": int})
