"""Evidently's page made safe to open: what is in its data stays data.

Evidently writes the data into a script as JSON. A category value or a column's name that holds `</script>` would end
that script and begin another one, written by whoever sent the value.
"""

from __future__ import annotations

import json
import re
import secrets
from typing import Final

from record.pages.policy import policy_tag

# Scripts run that carry the page's own nonce: Evidently's, and none that came with the data.
POLICY: Final = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
    "base-uri 'none'; form-action 'none'"
)
_FIRST: Final = re.compile(r"<script>\s*var \w+ = ")
_SECOND: Final = re.compile(r";\s*var additional_graphs_\w+ = ")
_HEAD: Final = "<head>"


def contain(page: str) -> str:
    """The page with its data escaped and a content security policy; ValueError where it is not Evidently's."""
    first = _FIRST.search(page)
    if first is None or _HEAD not in page[: first.start()]:
        raise ValueError("not a page of Evidently's: it holds no data where it used to")
    start, end = first.end(), _json_end(page, first.end())
    second = _SECOND.match(page, end)
    if second is None:
        raise ValueError("not a page of Evidently's: it holds no graphs where it used to")
    last = _json_end(page, second.end())
    page = f"{page[:start]}{_escaped(page[start:end])}{second[0]}{_escaped(page[second.end() : last])}{page[last:]}"
    nonce = secrets.token_hex(16)
    page = page.replace("<script>", f"<script nonce={nonce}>")  # without quotes: the library has the word in strings
    return page.replace(_HEAD, _HEAD + policy_tag(POLICY.format(nonce=nonce)), 1)


def _json_end(page: str, start: int) -> int:
    return json.JSONDecoder().raw_decode(page, start)[1]


def _escaped(document: str) -> str:
    """The same JSON without the characters that mean something to HTML; they stand within its texts only."""
    return document.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
