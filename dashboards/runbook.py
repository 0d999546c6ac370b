"""The page for operators as Prometheus serves it: `docs/operations.md` as a console template.

An alert's annotation `runbook_url` leads to its section on the very Prometheus that fired it (`/consoles/…`): that one
is there when Ringside is not, and nobody has to say where the pages are.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

from record.pages.policy import policy_tag

ROOT: Final = Path(__file__).parents[1]
SOURCE: Final = ROOT / "docs" / "operations.md"
PAGE: Final = ROOT / "dashboards" / "prometheus" / "consoles" / "operations.html"
_VIEWPORT: Final = '<meta name="viewport" content="width=device-width, initial-scale=1">'
_STYLE: Final = (
    ":root{color-scheme:light dark;--ink:#1f2328;--page:#fff;--code:#f0f1f3;--line:#d0d7de;--here:#fff3bf}"
    "@media (prefers-color-scheme:dark)"
    "{:root{--ink:#e6e9ef;--page:#14171d;--code:#262b34;--line:#3a4250;--here:#4a4010}}"
    "body{font:16px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem;color:var(--ink);"
    "background:var(--page);overflow-wrap:break-word}a{color:inherit}"
    "code{background:var(--code);padding:.1em .3em;border-radius:3px}"
    "pre{overflow-x:auto;background:var(--code);padding:.6em;border-radius:3px}pre code{padding:0}"
    "table{border-collapse:collapse;display:block;overflow-x:auto}"
    "td,th{border:1px solid var(--line);padding:.3em .8em;text-align:left}"
    ":target{background:var(--here)}"
)


def anchor(heading: str) -> str:
    """The name by which a heading can be linked to, as on the pages where Markdown is usually read."""
    return re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-")


def render_runbook(markdown: str) -> str:
    """The page; links to other files are plain text, since Prometheus does not have them."""
    reader = MarkdownIt().enable("table")
    tokens = reader.parse(markdown)
    for place, token in enumerate(tokens):
        if token.type == "heading_open":
            token.attrSet("id", anchor(tokens[place + 1].content))
        if token.children:
            token.children = _within_the_page(token.children)
    body = reader.renderer.render(tokens, reader.options, {})
    body = body.replace("{{", '{{"{{"}}')  # it is a template
    head = f'<meta charset="utf-8">{_VIEWPORT}{policy_tag()}<title>Ringside: alerts</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}</body></html>\n'


def write_runbook() -> None:
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(render_runbook(SOURCE.read_text()))


def _within_the_page(tokens: list[Token]) -> list[Token]:
    kept, inside = [], False
    for token in tokens:
        if token.type == "link_open":
            inside = str(token.attrGet("href")).startswith("#")
        if inside or not token.type.startswith("link_"):
            kept.append(token)
    return kept
