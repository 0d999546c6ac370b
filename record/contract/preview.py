"""A value as an error shows it: cut short, at a cost that does not grow with the value."""

from __future__ import annotations

import json
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, Final

CHARACTERS: Final = 60
_CHUNKS = json.JSONEncoder(ensure_ascii=False).iterencode


def preview(value: Any) -> str:
    """The value as JSON would show it, at most 60 characters of it."""
    try:
        if isinstance(value, str):
            text = json.dumps(value[: CHARACTERS + 1], ensure_ascii=False)
        else:
            text = _first_characters(_CHUNKS(value))
    except (TypeError, ValueError, RecursionError):  # an integer of thousands of digits has no text in Python
        text = f"a {type(value).__name__}"
    return text if len(text) <= CHARACTERS else text[: CHARACTERS - 1] + "…"


def preview_name(name: Any) -> str:
    """A key or a name of any length, cut: as it stands, without quotes."""
    text = name if isinstance(name, str) else preview(name)
    return text if len(text) <= CHARACTERS else text[: CHARACTERS - 1] + "…"


def nearest(name: Any, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known name that is most like this one; None where none is."""
    text = preview_name(name)
    near = get_close_matches(text, list(known), n=1, cutoff=cutoff)
    return near[0] if near else None


def _first_characters(chunks: Iterable[str]) -> str:
    text = ""
    for chunk in chunks:
        text += chunk[: CHARACTERS + 1]
        if len(text) > CHARACTERS:
            break
    return text
