"""One column of the problem, and what a value in it may be.

What a JSON value means, by the column's type. Both serving and training read values with these functions, so one
canonical form stands behind every way of writing the same thing:

    type      accepted                                 canonical form
    number    int or float, finite, in float32 range   float (1 and 1.0 are one; −0.0 and 0.0 are one in digests)
    category  string, boolean, integer                 text in NFC: "a" and "a " differ; true → "true", 7 → "7"
    time      ISO 8601 / RFC 3339 string               microseconds since 1970 UTC; without an offset: UTC
    text      string                                   the string, to the letter
    any       null                                     missing; an absent optional column is the same as null

Categories and texts of requests have at most `serve.max_text` characters.

Texts are compared as Unicode's normal form C: "é" is one category, whether it is written as one character or as two.
Where training saw a category of true and false only, "True" and "TRUE" are true, too, and "False" and "FALSE" false.

The order of keys in a record means nothing. A category spelled `__missing__` is missing. More than six digits of
a second are cut. A number is never read from a string, nor a category from a fraction: a client that sends one
where the other belongs has a fault that a silent cast would hide.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal
from unicodedata import normalize

from record.clock import to_micros
from record.tables.reading_rules import MISSING_WORDS

Role = Literal["feature", "carried"]
ColumnType = Literal["number", "category", "time", "text"]
Reason = Literal["not_an_object", "missing", "unknown_column", "type", "range", "not_finite", "too_long"]

MISSING: Final = "__missing__"
FLOAT32_MAX: Final = 3.4028234663852886e38
NAN: Final = math.nan
BOOLEAN_SPELLINGS: Final = {
    "true": "true", "True": "true", "TRUE": "true", "t": "true",
    "false": "false", "False": "false", "FALSE": "false", "f": "false",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the records that applications send. A `carried` one is logged and never fed to a model.

    `arrival`: where a request has no value, the service writes the request's arrival time into the record before the
    record is decoded and logged. Tables have no such time, and must have the column.
    """

    name: str
    role: Role
    type: ColumnType
    required: bool = True
    arrival: bool = False

    @property
    def required_in_tables(self) -> bool:
        """Whether files and queries must have the column."""
        return self.required or self.arrival


class BadValue(ValueError):
    """A value that its column cannot take: `reason` is one of a closed set, `expected` says what would do."""

    def __init__(self, reason: Reason, expected: str) -> None:
        super().__init__(expected)
        self.reason: Reason = reason
        self.expected = expected


def read_number(value: Any) -> float:
    """The value as a float; NaN stands for missing and for nothing else."""
    kind = value.__class__
    if kind is float or kind is int:
        if -FLOAT32_MAX <= value <= FLOAT32_MAX:
            return float(value)
        if kind is float and not math.isfinite(value):
            raise BadValue("not_finite", "a finite number, or null where it is missing")
        raise BadValue("range", "a number within ±3.4028235e38, the range of single precision")
    if value is None:
        return NAN
    raise BadValue("type", "a number or null")


def read_exact_number(value: Any) -> int | float | None:
    """The value as it stands, for a number that no model takes: ids lie beyond what single precision tells apart."""
    number = read_number(value)
    if value is None:
        return None
    return int(value) if number.is_integer() else number


def read_category(value: Any) -> str:
    """The value as text in NFC; `MISSING` for null."""
    if value.__class__ is str:
        return value if value.isascii() else normalize("NFC", value)
    return read_category_as_written(value)


def read_category_as_written(value: Any) -> str:
    """The value as text, to the letter, as versions before decoder 3 take it; `MISSING` for null."""
    kind = value.__class__
    if kind is str:
        return value  # type: ignore[no-any-return]
    if value is None:
        return MISSING
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        try:
            return str(value)
        except ValueError:  # Python writes no more than 4,300 digits
            raise BadValue("too_long", "an integer of at most 4,300 digits") from None
    raise BadValue("type", "a category: a string, an integer, true, false or null")


def read_boolean(value: Any) -> str:
    """A category of which training saw true and false only: both in every spelling, other values as they are.

    Words for a missing value are missing, as in the files that such a column was read from.
    """
    if value.__class__ is str:
        if value in BOOLEAN_SPELLINGS:
            return BOOLEAN_SPELLINGS[value]
        if value in MISSING_WORDS:
            return MISSING
    return read_category(value)


def read_time(value: Any) -> int | None:
    """Microseconds since 1970 of an ISO 8601 string; without an offset it is read as UTC."""
    if value is None:
        return None
    if value.__class__ is not str:
        raise BadValue("type", 'a time as an ISO 8601 string, such as "2024-05-01T13:45:00Z", or null')
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        raise BadValue("type", 'a time as ISO 8601, such as "2024-05-01T13:45:00Z", or null') from None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    micros = to_micros(at)
    if not EARLIEST <= micros <= LATEST:
        raise BadValue("range", "a time between the years 1 and 9999 in UTC")
    return micros


def read_text(value: Any) -> str | None:
    """The string itself."""
    if value is None or value.__class__ is str:
        return value
    raise BadValue("type", "a string or null")


def bounded(read: Callable[[Any], Any], longest_text: int) -> Callable[[Any], Any]:
    """`read` for a category or a text of at most so many characters."""
    plain = read is not read_boolean  # ASCII is in normal form already

    def read_bounded(value: Any) -> Any:
        if value.__class__ is str:
            if len(value) <= longest_text:
                return value if plain and value.isascii() else read(value)
            raise BadValue("too_long", too_long(longest_text))
        text = read(value)
        if text is not None and len(text) > longest_text:
            raise BadValue("too_long", too_long(longest_text))
        return text

    return read_bounded


def too_long(longest_text: int) -> str:
    """What is expected instead of a longer text."""
    return f"a text of at most {longest_text:,} characters (serve.max_text)"


READERS: Final[dict[ColumnType, Callable[[Any], Any]]] = {
    "number": read_number,
    "category": read_category,
    "time": read_time,
    "text": read_text,
}

EARLIEST: Final = to_micros(datetime.min.replace(tzinfo=UTC))
LATEST: Final = to_micros(datetime.max.replace(tzinfo=UTC))

TIME_PARTS: Final = ("days", "month", "day", "weekday", "hour", "second")
_MICROS_PER_SECOND = 1_000_000
_MICROS_PER_HOUR = 3_600 * _MICROS_PER_SECOND
_MICROS_PER_DAY = 24 * _MICROS_PER_HOUR
_DAYS_TO_2000 = 10_957  # from 1970-01-01
_DAYS_TO_1970 = 719_163  # proleptic ordinal of 1970-01-01
_NO_TIME = (NAN,) * len(TIME_PARTS)


def time_parts(micros: int | None) -> tuple[float, ...]:
    """What models see of a time, in UTC: days since 2000 and their fraction, month, day, weekday (Monday 0), hour, and
    the seconds of that hour with their fraction.

    In single precision the days of our time are 84 s apart; whole days, hour and second together tell .25 ms apart.
    """
    if micros is None:
        return _NO_TIME
    days, rest = divmod(micros, _MICROS_PER_DAY)
    date = datetime.fromordinal(days + _DAYS_TO_1970)
    since_2000 = (micros - _DAYS_TO_2000 * _MICROS_PER_DAY) / _MICROS_PER_DAY
    hour, rest = divmod(rest, _MICROS_PER_HOUR)
    weekday = (days + 3) % 7
    return (since_2000, float(date.month), float(date.day), float(weekday), float(hour), rest / _MICROS_PER_SECOND)
