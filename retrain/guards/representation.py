"""Whether protected and configured groups stand in the training rows as they do among those who ask.

The reference population is what `guards.population` says of a column; else the requests of the last
`quality.window`, labelled or not: labels that come more rarely for a group leave it out of training unseen.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from scipy.stats import binom

from record.contract.frame import json_value
from record.contract.schema import canonical_class
from record.log.window import log_span, sample_span
from record.record import Record
from record.settings import Settings
from retrain.data.dataset import Dataset
from retrain.guards.finding import Finding

# Of what its share in the population lets expect: a fifth less is what "four fifths" rules of fairness take note of.
ENOUGH = 0.8
# A group of less than this share of the population is too small to hold rows to.
SMALLEST = 0.01
ABSENT = 0.05  # from this share of the population on, a group without a row stops the run
FEWEST = 200  # rows, and requests, below which shares say little
ALPHA = 1e-3  # by chance; several groups are looked at in each run

_REQUESTS = 20_000  # a share of a hundredth is known to a tenth of itself


@dataclass(frozen=True, slots=True)
class Population:
    """`shares` of the groups of each column, which sum to 1; `of` says whose they are."""

    shares: Mapping[str, float]
    of: str


def read_populations(settings: Settings, record: Record, as_of: datetime) -> dict[str, Population]:
    """The reference population of each protected or configured column that has one."""
    told = {
        name: Population(_normalised(shares), "guards.population")
        for name, shares in settings.guards.population.items()
    }
    asked = [name for name in groups_of(settings) if name not in told and name not in settings.log.redact]
    counts: dict[str, Counter[str]] = {name: Counter() for name in asked}
    if asked:
        span = log_span(record.database, as_of, settings.quality.window, FEWEST)
        for chunk in sample_span(record.database, span, _REQUESTS):
            for held in map(json.loads, chunk.records):
                for name in asked:
                    group = _group(held.get(name))
                    if group is not None:
                        counts[name][group] += 1
    logged = {name: held for name, held in counts.items() if held.total() >= FEWEST}
    return told | {name: Population(_normalised(held), "the requests") for name, held in logged.items()}


def groups_of(settings: Settings) -> tuple[str, ...]:
    """Columns by whose values people or things are grouped: protected ones, and quality.slices."""
    return tuple(dict.fromkeys((*settings.problem.protected, *settings.quality.slices)))


def find_unrepresented(data: Dataset, populations: Mapping[str, Population]) -> Iterator[Finding]:
    """Groups that are rarer among the rows than in the population."""
    for name, population in populations.items():
        if name not in data.frame.columns:
            continue
        present = [group for value in data.frame[name].tolist() if (group := _group(value)) is not None]
        if len(present) >= FEWEST:
            yield from _of_column(name, Counter(present), population)


def _of_column(name: str, held: Counter[str], population: Population) -> Iterator[Finding]:
    rows = held.total()
    for group, expected in population.shares.items():
        share = held[group] / rows
        if expected < SMALLEST or share >= ENOUGH * expected or binom.cdf(held[group], rows, expected) > ALPHA:
            continue
        absent = held[group] == 0 and expected >= ABSENT
        message = (
            f"{group!r} is {share:.1%} of {rows} rows and {expected:.1%} of {population.of}. "
            f"Expected {ENOUGH:.0%} of that share at least: more rows of it, or another guards.population"
        )
        numbers = {"group": group, "rows": held[group], "share": share, "expected": expected}
        yield Finding("representation", name, "error" if absent else "warning", message, numbers)


def _normalised(shares: Mapping[str, float]) -> dict[str, float]:
    total = sum(shares.values())
    return {group: share / total for group, share in shares.items()}


def _group(value: object) -> str | None:
    """The value as the data contract writes a category; None where it is missing, or a fraction: that is no group."""
    plain = json_value(value, "category")
    return None if plain is None or isinstance(plain, float) else canonical_class(plain)
