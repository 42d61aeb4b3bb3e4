"""The files of the local Bot API: photos in Telegram's sizes, and their ids.

A photo is kept as Telegram keeps it: re-encoded as JPEG, at most 1280 pixels a side, with smaller
copies for lists (https://core.telegram.org/api/files#image-thumbnail-types). So what a bot
downloads is not byte for byte what the user sent. The store is bounded: the oldest go first.
"""

from __future__ import annotations

import hashlib
import io
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from PIL import Image

from mlsys.services.bot_api_errors import bad_request

LARGEST_PHOTO = 10 * 2**20  # bytes: sendPhoto's limit
LARGEST_SIDES = 10_000  # width + height in pixels: sendPhoto's limit
KEPT = 64 * 2**20  # bytes of all files together
SIDES = (90, 320, 800, 1280)


@dataclass(frozen=True)
class StoredFile:
    """One file: what getFile tells of it, and its bytes."""

    file_id: str
    unique_id: str
    path: str
    content: bytes
    width: int
    height: int

    def as_size(self) -> dict[str, Any]:
        """The API's PhotoSize."""
        return {
            "file_id": self.file_id,
            "file_unique_id": self.unique_id,
            "width": self.width,
            "height": self.height,
            "file_size": len(self.content),
        }

    def as_file(self) -> dict[str, Any]:
        """The API's File."""
        return {
            "file_id": self.file_id,
            "file_unique_id": self.unique_id,
            "file_size": len(self.content),
            "file_path": self.path,
        }


class Files:
    """Files by id and by path; not safe for threads by itself (its owner holds a lock)."""

    def __init__(self) -> None:
        self._by_id: OrderedDict[str, StoredFile] = OrderedDict()
        self._sets: dict[str, tuple[str, ...]] = {}
        self._bytes = 0

    def add(self, sizes: list[StoredFile]) -> list[dict[str, Any]]:
        """Keep a photo in all its sizes, smallest first: the API's `photo` array."""
        sizes = [self._keep(file) for file in sizes]
        ids = tuple(file.file_id for file in sizes)
        for file_id in ids:
            self._sets[file_id] = ids
        while self._bytes > KEPT and len(self._by_id) > len(sizes):
            file_id, old = self._by_id.popitem(last=False)
            self._bytes -= len(old.content)
            self._sets.pop(file_id, None)
        return [file.as_size() for file in sizes]

    def same_photo(self, file_id: str) -> list[dict[str, Any]]:
        """The `photo` array of a photo that is here already, by the id of any of its sizes."""
        ids = [one for one in self._sets.get(file_id, ()) if one in self._by_id]
        if not ids:
            raise bad_request("wrong file identifier/HTTP URL specified")
        return [self._by_id[one].as_size() for one in ids]

    def get(self, file_id: str) -> StoredFile:
        if file_id not in self._by_id:
            raise bad_request("wrong file_id or the file is temporarily unavailable")
        return self._by_id[file_id]

    def at(self, path: str) -> StoredFile | None:
        return next((file for file in self._by_id.values() if file.path == path), None)

    def content(self, file_id: str) -> bytes | None:
        """The bytes, or None when the store has dropped them since."""
        file = self._by_id.get(file_id)
        return file.content if file else None

    def _keep(self, file: StoredFile) -> StoredFile:
        if file.file_id in self._by_id:
            self._by_id.move_to_end(file.file_id)
        else:
            self._by_id[file.file_id] = file
            self._bytes += len(file.content)
        return self._by_id[file.file_id]


def photo_sizes(content: bytes) -> list[StoredFile]:
    """The JPEG copies that Telegram would make of a picture, smallest first.

    Raises Refusal (400) when the bytes are no picture, or one beyond the limits.
    """
    if not content:
        raise bad_request("file must be non-empty")
    if len(content) > LARGEST_PHOTO:
        raise bad_request("file is too big")
    try:
        with Image.open(io.BytesIO(content)) as image:
            # Nothing is decoded yet, so a picture that claims to be huge costs nothing.
            width, height = image.size
            if width + height > LARGEST_SIDES or max(width, height) > 20 * min(width, height):
                raise bad_request("PHOTO_INVALID_DIMENSIONS")
            picture = _on_white(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as broken:
        raise bad_request("IMAGE_PROCESS_FAILED") from broken
    longest = max(width, height)
    sides = {*[side for side in SIDES if side < longest][:3], min(longest, SIDES[-1])}
    files = []
    for side in sorted(sides):
        copy = picture.copy()
        copy.thumbnail((side, side))
        written = io.BytesIO()
        copy.save(written, "JPEG", quality=87)
        data = written.getvalue()
        digest = hashlib.sha256(data).hexdigest()
        files.append(
            StoredFile(
                file_id=f"AgAC{digest[:40]}",
                unique_id=f"AQAD{digest[40:52]}",
                path=f"photos/file_{digest[:12]}.jpg",
                content=data,
                width=copy.width,
                height=copy.height,
            )
        )
    return files


def _on_white(image: Image.Image) -> Image.Image:
    """Colours without transparency, which JPEG lacks."""
    if image.mode in ("RGBA", "LA", "PA", "P"):
        full = image.convert("RGBA")
        paper = Image.new("RGBA", full.size, "white")
        return Image.alpha_composite(paper, full).convert("RGB")
    return image.convert("L" if image.mode in ("1", "L", "I;16") else "RGB")
