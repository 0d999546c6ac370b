"""Cost of a look at a bout of four million pairs: time, memory, and the state that the next look needs.

    nice python -m benchmarks.looks [--pairs 4000000] [--write]

Each look reads the state of the one before from its JSON, as the record keeps it, adds the thousand pairs that have
matured since, and writes it again. At the end the state is made again from all pairs at once, as `ringside events
--recompute` does, and has to be the same to the last bit.
"""

from __future__ import annotations

import json
import sys
import time
import tracemalloc
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.results import replace_section, table
from monitoring.bouts.design import Design
from monitoring.bouts.evidence_state import EvidenceState, MaturedPairs
from monitoring.bouts.family import FamilyShare
from record.configuration.loop_sections import PromotionSettings

HERE = Path(__file__).parent
EACH = 1_000  # pairs of one look
SECOND = 1_000_000
SHOWN = (10_000, 100_000, 1_000_000, 4_000_000)


def pairs(first: int, count: int) -> MaturedPairs:
    """100 a second, of two models that are equal."""
    rng = np.random.default_rng(first)
    micros = (first + np.arange(count, dtype=np.int64)) * SECOND // 100
    return MaturedPairs.independent(micros, rng.choice([-1.0, 0.0, 1.0], count, p=[0.05, 0.9, 0.05]))


def joined(parts: list[MaturedPairs]) -> MaturedPairs:
    names = ("micros", "labelled", "difference", "bound", "worst", "counts", "scores")
    return MaturedPairs(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def design() -> Design:
    """A challenge's by default, of two classes."""
    share, horizon = FamilyShare(1, 0.05), timedelta(days=1)
    return Design.of_challenge(PromotionSettings(), share=share, loss="brier", loss_scale=1.0, horizon=horizon)


def measure(total: int) -> tuple[list[list[str]], bool]:
    """A line for each of SHOWN, and whether the state of all looks is that of all pairs at once."""
    made = design()
    held = json.dumps(EvidenceState.start(made).to_json())
    lines, seconds = [], []
    tracemalloc.start()
    for first in range(0, total, EACH):
        new = pairs(first, EACH)
        tracemalloc.reset_peak()
        before, began = tracemalloc.get_traced_memory()[0], time.perf_counter()
        state = EvidenceState.from_json(json.loads(held)).add(new)
        state.close_cycles(int(new.micros[-1]))
        state.read(made.alpha, made.needed)
        held = json.dumps(state.to_json())
        seconds.append(time.perf_counter() - began)
        memory = (tracemalloc.get_traced_memory()[1] - before) / 1e6
        if first + EACH in SHOWN:
            last = 1000 * float(np.median(seconds[-100:]))
            lines.append([f"{first + EACH:,}", f"{last:.1f} ms", f"{memory:.2f} MB", f"{len(held) / 1000:.1f} kB"])
            print(" | ".join(lines[-1]), flush=True)
    tracemalloc.stop()
    again = EvidenceState.start(made)
    for first in range(0, total, 500 * EACH):  # in other portions, as no look read them
        again.add(joined([pairs(place, EACH) for place in range(first, min(total, first + 500 * EACH), EACH)]))
    return lines, json.dumps(again.to_json()) == held


def main(
    total: Annotated[int, typer.Option("--pairs", help="that the bout has seen at the end")] = 4_000_000,
    write: Annotated[bool, typer.Option(help="put the table into benchmarks/RESULTS.md")] = False,
) -> None:
    lines, same = measure(total)
    print("the same state from all pairs at once:", same)
    if write:
        verdict = "the same to the last bit" if same else "**another**"
        said = (
            "## A look at a long bout\n\n`nice python -m benchmarks.looks --write`: the state of the look before is "
            f"read from its JSON, {EACH:,} new pairs are added, and it is written again (time: median of a hundred "
            "looks, on a busy machine with memory traced; memory: the peak of the look's own). The state made again "
            f"from all {total:,} pairs at once, in other portions, is {verdict}.\n\n"
        )
        replace_section(HERE / "RESULTS.md", "looks", said + table(["pairs seen", "a look", "memory", "state"], lines))
    raise typer.Exit(0 if same else 1)


if __name__ == "__main__":
    sys.exit(typer.run(main))
