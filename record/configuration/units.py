"""Durations ("15m", "1h30m", "1d") and sizes ("2GB") as people write them in ringside.toml."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
_BYTES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?")

# No clock of ours runs for longer; datetimes end in the year 9999.
_LONGEST_SECONDS = 1000 * 365 * 86400.0


def parse_duration(value: Any) -> timedelta:
    """The length of "250ms", "30s", "15m", "2h", "1d", "1w" or a row of them ("1h30m"). A bare 0 is no time at all."""
    if isinstance(value, timedelta):
        return value
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if text == "0":
        return timedelta(0)
    if not _DURATION.fullmatch(text):
        raise ValueError('a duration such as "30s", "15m", "2h", "1d" or "1w"')
    seconds = sum(float(count) * _SECONDS[unit] for count, unit in _PART.findall(text))
    if seconds > _LONGEST_SECONDS:
        raise ValueError("a duration of at most 1000 years")
    return timedelta(seconds=seconds)


def format_duration(value: timedelta) -> str:
    """The shortest text that `parse_duration` reads back as the same length: "1d", "90m", "250ms"."""
    millis = round(value.total_seconds() * 1000)
    for unit in ("w", "d", "h", "m", "s"):
        size = round(_SECONDS[unit] * 1000)
        if millis and millis % size == 0:
            return f"{millis // size}{unit}"
    return f"{millis}ms" if millis else "0s"


def parse_size(value: Any) -> int:
    """The bytes of "512MB", "2GB" (powers of 1000), "2GiB" (powers of 1024), or of a plain number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = _SIZE.fullmatch(value.strip().upper()) if isinstance(value, str) else None
    if found is None or found[2] == "I":
        raise ValueError('a size such as "512MB", "2GB" or "2GiB"')
    return int(float(found[1]) * _BYTES[found[2]])


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("a duration longer than 0")
    return value


def _positive_size(value: int) -> int:
    if value <= 0:
        raise ValueError("a size larger than 0")
    return value


_DURATION_SCHEMA: dict[str, Any] = {
    "type": "string",
    "pattern": rf"^\s*(0|{_DURATION.pattern})\s*$",
    "examples": ["30s", "15m", "1h30m", "1d"],
}
_SIZE_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "integer", "exclusiveMinimum": 0},
        {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*([KkMmGgTt][Ii]?)?[Bb]?\s*$"},
    ],
    "examples": ["512MB", "2GB", "2GiB"],
}

Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(_DURATION_SCHEMA),
]
PositiveDuration = Annotated[Duration, AfterValidator(_positive)]
Size = Annotated[int, BeforeValidator(parse_size), AfterValidator(_positive_size), WithJsonSchema(_SIZE_SCHEMA)]
