"""Evidently's page made safe to open, and lighter: what is in its data stays data, and its library is compressed.

Evidently writes the data into a script as JSON. A category value or a column's name that holds `</script>` would end
that script and begin another one, written by whoever sent the value. Its drawing library is 93 % of each page.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import secrets
from functools import lru_cache
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
_OPEN: Final = "<script>"
# The library holds the text `<\/script>` and never the tag itself: it would end there in any browser.
_LIBRARY: Final = re.compile(r"<script>(var \w+=Object\.defineProperty;.*?)</script>", re.DOTALL)
# The two scripts that are left, in their order: the library draws nothing before the last one calls it. Browsers
# have DecompressionStream since 2023 (Chrome 80, Safari 16.4, Firefox 113).
_LOADER: Final = """<script>
(async (nonce, library, draw) => {
  const bytes = Uint8Array.from(atob(library), (each) => each.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  for (const source of [await new Response(stream).text(), draw]) {
    const script = document.createElement("script");
    script.nonce = nonce;
    script.textContent = source;
    document.body.append(script);
  }
})(document.currentScript.nonce, "%s", %s).catch((error) => {
  document.body.append(`This page cannot be drawn here (${error}); it needs a browser of 2023 or later.`);
});
</script>"""


def contain(page: str) -> str:
    """The page with its data escaped, its library compressed, and a content security policy.

    ValueError where it is not Evidently's.
    """
    first = _FIRST.search(page)
    if first is None or _HEAD not in page[: first.start()]:
        raise ValueError("not a page of Evidently's: it holds no data where it used to")
    start, end = first.end(), _json_end(page, first.end())
    second = _SECOND.match(page, end)
    if second is None:
        raise ValueError("not a page of Evidently's: it holds no graphs where it used to")
    last = _json_end(page, second.end())
    data = f"{_escaped(page[start:end])}{second[0]}{_escaped(page[second.end() : last])}"
    page = f"{page[:start]}{data}{_compressed(page[last:])}"
    nonce = secrets.token_hex(16)
    page = page.replace(_OPEN, f"<script nonce={nonce}>")  # without quotes: the library has the word in strings
    return page.replace(_HEAD, _HEAD + policy_tag(POLICY.format(nonce=nonce)), 1)


def _json_end(page: str, start: int) -> int:
    return json.JSONDecoder().raw_decode(page, start)[1]


def _escaped(document: str) -> str:
    """The same JSON without spaces, and without the characters that mean something to HTML."""
    short = json.dumps(json.loads(document), separators=(",", ":"))
    return short.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _compressed(rest: str) -> str:
    """Return the part of the page after its data, with the drawing library compressed if it is found there."""
    library = _LIBRARY.search(rest)
    if library is None:
        return rest
    start = rest.find(_OPEN, library.end())
    end = rest.find("</script>", start)
    if start < 0 or end < 0:
        return rest
    draw = _escaped(json.dumps(rest[start + len(_OPEN) : end]))
    loader = _LOADER % (_packed(library[1]), draw)
    return rest[: library.start()] + loader + rest[end + len("</script>") :]


@lru_cache(maxsize=1)  # it is the same in all pages of one Evidently
def _packed(library: str) -> str:
    return base64.b64encode(gzip.compress(library.encode(), 9, mtime=0)).decode()
