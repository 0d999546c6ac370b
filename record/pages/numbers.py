"""Numbers as people write them: 51,900, not 5.19e+04."""

from __future__ import annotations

import math
import re

_EXPONENT = re.compile(r"\b(\d+(?:\.\d+)?)e([+-]\d+)\b")
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
SMALLEST_PROBABILITY = 1e-4  # as it is shown; what is below is "less"


def figure(value: float) -> str:
    """A number with the digits that one reads: four that count, thousands whole and apart."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞" if value > 0 else "−∞"
    size = abs(value)
    if size >= 1e15 or 0 < size < 1e-6:
        return power(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if 0 < size < 1e-2:  # zeros behind the point do not count
        return f"{value:.{2 - math.floor(math.log10(size))}f}"
    digits = 4 if size < 1 else 3 if size < 10 else 2 if size < 100 else 1
    return f"{value:.{digits}f}"


def power(value: float, digits: int = 2) -> str:
    """A number beyond what zeros can be counted in, as a power of ten: 4.4×10⁻¹⁶."""
    mantissa, _, exponent = f"{value:.{digits}e}".partition("e")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}×10{str(int(exponent)).translate(_RAISED)}"


def powers(text: str) -> str:
    """A text with its 2.1e-14 written as 2.1×10⁻¹⁴."""
    return _EXPONENT.sub(lambda found: f"{found[1]}×10{str(int(found[2])).translate(_RAISED)}", text)


def count(value: float) -> str:
    """A whole number, thousands apart."""
    return f"{value:,.0f}"


def amount(value: float) -> str:
    """As `figure`, without zeros at its end: a bound or a value, not a measurement."""
    text = figure(value)
    return text.rstrip("0").rstrip(".") if "." in text and "×" not in text else text


def probability(value: float) -> str:
    """A p-value: never 0."""
    return f"< {SMALLEST_PROBABILITY:.4f}" if value < SMALLEST_PROBABILITY else f"{value:.2g}"


def in_unit(name: str, unit: str | None) -> str:
    """What a number is of, with its unit where that is given."""
    return f"{name}, {unit}" if unit else name
