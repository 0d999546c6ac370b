"""An HTML page that stands alone: its style, and the few things that it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

STYLE = """
:root { color-scheme: light dark; --ink: #1d2330; --dim: #697386; --line: #d9dee7; --mark: #2f6fdb; --page: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ef; --dim: #9aa4b5; --line: #343b48; --mark: #6ea3ff; --page: #14171d; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 2rem auto;
  max-width: 62rem; padding: 0 1.2rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .4rem; }
p.lead, .dim { color: var(--dim); }
table { border-collapse: collapse; width: 100%; } th { font-weight: 600; }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
.row { display: flex; flex-wrap: wrap; gap: 1.5rem; } .row > * { flex: 1 1 18rem; max-width: 26rem; }
svg { width: 100%; height: auto; max-width: 40rem; font: 11px system-ui, sans-serif; fill: var(--ink); }
svg .dim { fill: var(--dim); } .mark { fill: var(--mark); } .line { fill: none; stroke: var(--mark); stroke-width: 2; }
.axis { fill: none; stroke: var(--dim); } .guide { stroke: var(--line); stroke-dasharray: 4 4; }
.error, .warning { border-radius: .3rem; padding: 0 .5rem; font-size: .8rem; color: #fff; }
.error { background: #c0392b; } .warning { background: #b7791f; } .finding { margin: .3rem 0; }
.passed::before { content: "✓ "; } .refused::before { content: "✗ "; font-weight: bold; }
"""


def render_page(title: str, sections: Sequence[str]) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>'
        f"<body>{''.join(sections)}</body></html>"
    )


def section(title: str, body: str) -> str:
    """A heading, and HTML beneath it."""
    return f"<h2>{escape(title)}</h2>{body}"


def row(*parts: str) -> str:
    """HTML side by side."""
    return f"<div class='row'>{''.join(f'<div>{part}</div>' for part in parts)}</div>"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Plain texts in cells."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in heads)
    body = "".join(f"<tr>{''.join(f'<td class=number>{escape(cell)}</td>' for cell in cells)}</tr>" for cells in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
