"""Points in time and their zones as plain parts, for the codec."""

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo


class NoZoneError(ValueError):
    """A time zone that has neither a name nor one offset."""


def zone_parts(zone: dt.tzinfo | None) -> Any:
    if zone is None:
        return None
    if isinstance(zone, ZoneInfo) and zone.key:
        return zone.key
    offset = zone.utcoffset(None)
    if offset is None:
        raise NoZoneError("a time zone without a name or an offset")
    return offset.total_seconds()


def moment_parts(value: Any) -> list[Any]:
    return [value.replace(tzinfo=None).isoformat(), zone_parts(value.tzinfo), value.fold]


def zone(parts: Any) -> dt.tzinfo | None:
    if parts is None:
        return None
    if isinstance(parts, str):
        return ZoneInfo(parts)
    return dt.timezone(dt.timedelta(seconds=parts))


def moment(kind: type, part: Any) -> Any:
    text, where, fold = part
    return kind.fromisoformat(text).replace(tzinfo=zone(where), fold=fold)
