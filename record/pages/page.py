"""An HTML page that stands alone: its style, and the few things that it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from record.pages.policy import policy_tag

STYLE = """
:root { color-scheme: light dark; --ink: #1d2330; --dim: #697386; --line: #d9dee7; --mark: #2f6fdb; --page: #fff;
  --c0: #2f6fdb; --c1: #d9622b; --c2: #2b9a66; --c3: #8a4fc7;
  --c4: #b8860b; --c5: #c43d72; --c6: #3d9bb3; --c7: #7a7f87; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ef; --dim: #9aa4b5; --line: #343b48; --mark: #6ea3ff; --page: #14171d;
    --c0: #6ea3ff; --c1: #ff9a66; --c2: #5fd39b; --c3: #bf95f0;
    --c4: #e0b64a; --c5: #f084ab; --c6: #74cbe0; --c7: #a4abb5; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 2rem auto;
  max-width: 62rem; padding: 0 1.2rem; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .4rem; }
p.lead, .dim { color: var(--dim); }
table { border-collapse: collapse; width: 100%; } th { font-weight: 600; }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top;
  overflow-wrap: break-word; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
td.number:first-child { white-space: normal; }
.row { display: flex; flex-wrap: wrap; gap: 1.5rem; } .row > * { flex: 1 1 18rem; max-width: 26rem; min-width: 0; }
svg { width: 100%; height: auto; max-width: 40rem; font: 11px system-ui, sans-serif; fill: var(--ink); }
svg .dim { fill: var(--dim); } .mark { fill: var(--mark); } .line { fill: none; stroke: var(--mark); stroke-width: 2; }
.axis { fill: none; stroke: var(--dim); } .guide { stroke: var(--line); stroke-dasharray: 4 4; }
.error, .warning { border-radius: .3rem; padding: 0 .5rem; font-size: .8rem; color: #fff; }
.error { background: #c0392b; } .warning { background: #b7791f; } .finding { margin: .3rem 0; }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem; } nav { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; }
nav a { color: var(--mark); text-decoration: none; } h2 { border-top: 1px solid var(--line); padding-top: 1rem; }
svg .title { font-weight: 600; font-size: 13px; } svg .end { text-anchor: end; } svg .mid { text-anchor: middle; }
.grid { stroke: var(--line); stroke-width: 1; fill: none; } .whisker { stroke-width: 2; fill: none; }
.thin { fill: none; stroke-width: 1; opacity: .28; } .band { opacity: .16; } .faint { opacity: .35; }
polyline.guide { fill: none; stroke: var(--dim); } svg .guide { stroke: var(--dim); }
.wide { overflow-x: auto; } @media (max-width: 40rem) { .wide > svg { width: 32rem; max-width: none; } }
.grid2 { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); gap: 1.4rem 2rem;
  margin: .6rem 0 1.4rem; } .grid2 > * { min-width: 0; }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1.1rem; margin: 0; font-size: .85rem; }
.legend i { display: inline-block; width: .7em; height: .7em; border-radius: 50%; margin-right: .3em; }
.tiles { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1rem 0; }
.tiles div { border: 1px solid var(--line); border-radius: .5rem; padding: .5rem 1rem; min-width: 7rem; }
.tiles b { display: block; font-size: 1.4rem; font-variant-numeric: tabular-nums; }
.tiles span { color: var(--dim); font-size: .85rem; }
.confusion { width: auto; }
.confusion td { text-align: right; padding: .35rem .7rem; font-variant-numeric: tabular-nums;
  background: color-mix(in srgb, var(--mark) calc(var(--share, 0) * 45%), transparent); }
.facts td.number { white-space: normal; overflow-wrap: anywhere; }
.facts td:first-child { min-width: 12rem; }
.rates small { display: block; color: var(--dim); }
.confusion th { padding: .35rem .7rem; } .confusion small { display: block; color: var(--dim); }
details { margin: 1rem 0; } summary { cursor: pointer; color: var(--mark); }
.s0 { stroke: var(--c0); } .f0 { fill: var(--c0); } .b0 { background: var(--c0); }
.s1 { stroke: var(--c1); } .f1 { fill: var(--c1); } .b1 { background: var(--c1); }
.s2 { stroke: var(--c2); } .f2 { fill: var(--c2); } .b2 { background: var(--c2); }
.s3 { stroke: var(--c3); } .f3 { fill: var(--c3); } .b3 { background: var(--c3); }
.s4 { stroke: var(--c4); } .f4 { fill: var(--c4); } .b4 { background: var(--c4); }
.s5 { stroke: var(--c5); } .f5 { fill: var(--c5); } .b5 { background: var(--c5); }
.s6 { stroke: var(--c6); } .f6 { fill: var(--c6); } .b6 { background: var(--c6); }
.s7 { stroke: var(--c7); } .f7 { fill: var(--c7); } .b7 { background: var(--c7); }
.passed::before { content: "✓ "; } .refused::before { content: "✗ "; font-weight: bold; }
"""


def render_page(title: str, sections: Sequence[str], style: str = "") -> str:
    """The page; `style` is what it has besides the style of all."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"{policy_tag()}<title>{escape(title)}</title>"
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}{style}</style></head>'
        f"<body>{''.join(sections)}</body></html>"
    )


def section(title: str, body: str) -> str:
    """A heading, and HTML beneath it."""
    return f"<h2 id='{_anchor(title)}'>{escape(title)}</h2>{body}"


def contents(titles: Sequence[str]) -> str:
    """Links to the sections of these titles."""
    links = "".join(f"<a href='#{_anchor(title)}'>{escape(title)}</a>" for title in titles)
    return f"<nav>{links}</nav>"


def row(*parts: str) -> str:
    """HTML side by side."""
    return f"<div class='row'>{''.join(f'<div>{part}</div>' for part in parts)}</div>"


def pictures(*parts: str) -> str:
    """Pictures in as many equal columns as there is room for."""
    return f"<div class='grid2'>{''.join(f'<div>{part}</div>' for part in parts if part)}</div>"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Plain texts in cells; a table that is wider than its place is scrolled within it."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in heads)
    body = "".join(f"<tr>{''.join(f'<td class=number>{escape(cell)}</td>' for cell in cells)}</tr>" for cells in rows)
    return f"<div class='wide'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _anchor(title: str) -> str:
    return "-".join("".join(letter if letter.isalnum() else " " for letter in title.lower()).split())
