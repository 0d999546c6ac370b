"""Values as the record writes them: as JSON can say them, and one text for each, which is what is hashed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any


def canonical_json(value: Any) -> str:
    """The value's text: sorted keys, no spaces, no NaN.

    Raises ValueError for NaN and infinity, TypeError for what JSON cannot say.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def clean_text(text: str) -> str:
    """Text that every database takes: half surrogates and NUL, which JSON can spell, are replaced."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "�")


def plain(value: Any) -> Any:
    """The value as JSON can say it: times as RFC 3339 text, NumPy's scalars as Python's.

    NaN becomes null, and an infinity the text "Infinity" or "-Infinity". Raises TypeError for anything else.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _plain_float(float(value))
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {clean_text(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, (Sequence, set, frozenset)) and not isinstance(value, (bytes, bytearray)):
        return [plain(item) for item in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    if hasattr(value, "tolist"):  # NumPy, without importing it
        return plain(value.tolist())
    raise TypeError(f"{type(value).__name__} cannot be written to the record: {value!r}")


def _plain_float(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value
