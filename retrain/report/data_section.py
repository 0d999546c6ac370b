"""What the guards found, as a part of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any


def findings_list(findings: Sequence[Mapping[str, Any]]) -> str:
    """Each finding on a line with its severity; a sentence where there is none."""
    if not findings:
        return "<p>Nothing: no leak, no copy, no idle column, no sign of wrong labels, no class too small.</p>"
    lines = "".join(
        f"<li class='finding'><span class='{finding['severity']}'>{finding['severity']}</span> "
        f"<b>{escape(_about(finding))}</b> {escape(finding['message'])}.</li>"
        for finding in findings
    )
    return f"<ul style='list-style: none; padding: 0'>{lines}</ul>"


def _about(finding: Mapping[str, Any]) -> str:
    check = str(finding["check"]).replace("_", " ")
    return check if finding["column"] is None else f"{finding['column']}: {check}"
