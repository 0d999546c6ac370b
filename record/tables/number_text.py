"""Numbers as people and programs write them: thousands separators, a decimal comma, currency and percent signs.

A percent sign is taken off: "12%" is 12, as an application would send it that sends no text.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from record.tables.reading_rules import DecimalMark

_CODES: Final = (
    "USD|EUR|GBP|CHF|JPY|CNY|RMB|SEK|NOK|DKK|PLN|CZK|HUF|RON|BGN|TRY|RUB|INR|BRL|MXN|CAD|AUD|NZD|ZAR|ILS|KRW|SGD|HKD|"
    "THB|AED|SAR|kr|Kr|zł|Kč|Ft|lei|Fr"
)
# A word for a currency stands apart from the number, "R$" before it; "R12" and "INR3" are codes of something else.
_UNIT: Final = re.compile(rf"^(?:{_CODES})\.?\s+|^[A-Z]{{1,2}}(?=\$)|\s+(?:{_CODES})\.?$")
_BLANKS: Final = "[ \u00a0\u202f\u2009]"
_DIGIT: Final = re.compile("[0-9]")
_PLAIN: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
# A number in groups begins with no zero: "0,123" is a fraction, or no number.
_POINT: Final = re.compile(
    rf"[+-]?(?:[1-9]\d{{0,2}}(?:(?:,\d{{3}})+|(?:{_BLANKS}\d{{3}})+|(?:['’]\d{{3}})+)|\d+)?(?:\.\d*)?", re.ASCII
)
_INDIAN: Final = re.compile(r"[+-]?[1-9]\d?(?:,\d{2})+,\d{3}(?:\.\d*)?", re.ASCII)
_COMMA: Final = re.compile(
    rf"[+-]?(?:[1-9]\d{{0,2}}(?:(?:\.\d{{3}})+|(?:{_BLANKS}\d{{3}})+|(?:['’]\d{{3}})+)|\d+)?(?:,\d*)?(?:[eE][+-]?\d+)?",
    re.ASCII,
)
# Shapes that only one of the two marks can have made. "1,234" can be either.
_SURE_COMMA: Final = re.compile(
    r"[+-]?(?:\d+,(?:\d{1,2}|\d{4,})|0+,\d+|\d{4,},\d+|,\d+|\d{1,3}(?:[. '’\u00a0\u202f]\d{3})+,\d+"
    r"|[1-9]\d{0,2}(?:\.\d{3}){2,})",
    re.ASCII,
)
_SURE_POINT: Final = re.compile(
    r"[+-]?(?:\d+\.(?:\d{1,2}|\d{4,})|0+\.\d+|\d{4,}\.\d+|\.\d+|\d{1,3}(?:[, '’\u00a0\u202f]\d{3})+\.\d+"
    r"|[1-9]\d{0,2}(?:,\d{3}){2,}|[1-9]\d?(?:,\d{2})+,\d{3})",
    re.ASCII,
)
_EITHER: Final = re.compile(r"[+-]?[1-9]\d{0,2}([.,])\d{3}", re.ASCII)


def parse_number(text: str, decimal: DecimalMark) -> float | None:
    """The finite number that a text says; None where it says none, or not with this decimal mark."""
    if not _DIGIT.search(text):
        return None
    bare = bare_number(text)
    if decimal == "." and _PLAIN.fullmatch(bare):
        return _finite(bare)
    shape = _POINT if decimal == "." else _COMMA
    if not (shape.fullmatch(bare) or (decimal == "." and _INDIAN.fullmatch(bare))):
        return None
    thousands = ", '’\u00a0\u202f\u2009" if decimal == "." else ". '’\u00a0\u202f\u2009"
    plain = bare.translate(str.maketrans("", "", thousands)).replace(decimal, ".")
    return _finite(plain)


def _finite(text: str) -> float | None:
    """None for what is beyond the range of floats: 1e999."""
    number = float(text)
    return number if math.isfinite(number) else None


def bare_number(text: str) -> str:
    """The text without blanks around it, currency, percent sign; a minus behind it or brackets around it in front."""
    bare = text.strip().replace("\u2212", "-")
    if _PLAIN.fullmatch(bare):
        return bare
    sign = ""
    if bare.startswith("(") and bare.endswith(")"):
        sign, bare = "-", bare[1:-1].strip()
    if bare.endswith("-"):
        sign, bare = "-", bare[:-1].strip()
    bare = _without_unit(bare)
    if bare[:1] in ("+", "-") and not sign:
        sign, bare = bare[0], _without_unit(bare[1:].strip())
    return sign + bare if not (sign and bare[:1] in ("+", "-")) else text


def _without_unit(text: str) -> str:
    bare = text.removesuffix("%").strip()
    while bare and unicodedata.category(bare[0]) == "Sc":
        bare = bare[1:].strip()
    while bare and unicodedata.category(bare[-1]) == "Sc":
        bare = bare[:-1].strip()
    match = _UNIT.search(bare)
    if match is None:
        return bare
    rest = (bare[: match.start()] + bare[match.end() :]).strip()
    while rest and unicodedata.category(rest[0]) == "Sc":
        rest = rest[1:].strip()
    return rest if rest[:1].isdecimal() or rest[:1] in ("+", "-", ".", ",") else bare


def has_sign(text: str) -> bool:
    """Whether a number is written with a currency or a percent sign."""
    return bool(text) and (
        "%" in text or any(unicodedata.category(c) == "Sc" for c in text) or bool(_UNIT.search(text.strip()))
    )


@dataclass(frozen=True, slots=True)
class DecimalVotes:
    """How many of a column's texts can only have a decimal comma, only a point, and either ("1,234" and "1.234")."""

    comma: int = 0
    point: int = 0
    comma_or_group: int = 0
    point_or_group: int = 0

    @property
    def sure(self) -> bool:
        return self.comma + self.point > 0

    @property
    def any(self) -> bool:
        return self.sure or self.comma_or_group + self.point_or_group > 0


def decimal_votes(texts: Iterable[str]) -> DecimalVotes:
    """What a column's texts say of the decimal mark."""
    comma = point = 0
    either = {",": 0, ".": 0}
    for text in texts:
        bare = bare_number(text)
        comma += bool(_SURE_COMMA.fullmatch(bare))
        point += bool(_SURE_POINT.fullmatch(bare))
        match = _EITHER.fullmatch(bare)
        if match is not None:
            either[match[1]] += 1
    return DecimalVotes(comma, point, either[","], either["."])
