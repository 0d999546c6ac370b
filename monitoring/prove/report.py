"""What `ringside prove` measured, in words: one line for each target."""

from __future__ import annotations

import math

from monitoring.prove.target import Target

STATES = {True: "ok", False: "MISSED", None: "skipped"}


def target_line(target: Target) -> str:
    """Whether it holds, what was measured, and the bound."""
    if target.skipped is not None:
        return f"{STATES[None]:<8} {target.group}: {target.title} ({target.skipped})"
    sign = "≤" if target.relation == "at most" else "≥"
    measured = f"{value_words(target)} ({sign} {bound_words(target)})"
    return f"{STATES[target.holds]:<8} {target.group}: {target.title}: {measured}"


def value_words(target: Target) -> str:
    """What was measured, with its unit."""
    return "-" if target.value is None else _words(target.value, target.unit)


def bound_words(target: Target) -> str:
    return _words(target.bound, target.unit)


def _words(value: float, unit: str) -> str:
    if not math.isfinite(value):
        return "never"
    if unit == "share":
        return f"{value:.1%}"
    if unit == "alarms":
        return f"{value:.2f} alarms"
    return f"{value:,.0f}" if unit in ("count", "evidence") else f"{value:,.0f} {unit}"
