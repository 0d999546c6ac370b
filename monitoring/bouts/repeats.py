"""Signs that one customer, machine or patient asks again and again, where no column says who asks.

Rows of one entity are not independent: five requests of each customer crown an equal model in one bout of four. A
sketch of bounded size counts how often the same features come again, and how often the values of each carried column
do: of all texts ever seen it keeps those with the smallest hashes (a KMV sketch; Bar-Yossef et al., "Counting distinct
elements in a data stream", 2002), and counts these exactly.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from record.configuration.inspection import names_an_entity
from record.logged import MaturedRow

KEPT = 128
FEWEST_REQUESTS = 200
# Requests with the same features, on average, from which on it is worth a word.
WORTH_SAYING = 1.5
# A column with fewer values than this, in so many requests, is a category and no one's name.
FEWEST_VALUES = 20
LONGEST_TEXT = 200
MOST_COLUMNS = 12
WHOLE_RECORD = ""


@dataclass(slots=True)
class Sketch:
    counts: dict[int, int] = field(default_factory=dict)

    def add(self, text: str) -> None:
        hashed = int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).digest())
        if hashed in self.counts:
            self.counts[hashed] += 1
            return
        if len(self.counts) >= KEPT:
            largest = max(self.counts)
            if hashed > largest:
                return
            del self.counts[largest]
        self.counts[hashed] = 1

    @property
    def mean(self) -> float:
        """How often a text came, on average."""
        return sum(self.counts.values()) / len(self.counts) if self.counts else 0.0


@dataclass(slots=True)
class Repeats:
    requests: int = 0
    sketches: dict[str, Sketch] = field(default_factory=dict)

    def add(self, rows: Sequence[MaturedRow]) -> None:
        for row in rows:
            record = json.loads(row.record)
            self.requests += 1
            self._sketch(WHOLE_RECORD).add(json.dumps(record, sort_keys=True))
            for name in sorted(record)[:MOST_COLUMNS]:
                value = record[name]
                if isinstance(value, str | int) and not isinstance(value, bool) and len(str(value)) <= LONGEST_TEXT:
                    self._sketch(name).add(json.dumps(value))

    def warnings(self) -> tuple[str, ...]:
        """What to look at, in words; nothing while there are few requests."""
        if self.requests < FEWEST_REQUESTS:
            return ()
        found = []
        whole = self._sketch(WHOLE_RECORD).mean
        if whole >= WORTH_SAYING:
            found.append(
                f"the same record comes {whole:.1f} times on average: requests of one customer or machine are not "
                "independent; name the column that says who asks in problem.entity_column"
            )
        for name, sketch in self.sketches.items():
            if (
                name != WHOLE_RECORD
                and len(sketch.counts) >= KEPT
                and sketch.mean >= WORTH_SAYING
                and names_an_entity(name)
            ):
                found.append(
                    f"values of column {name!r} come {sketch.mean:.1f} times on average: if it says who asks, set "
                    f'problem.entity_column = "{name}"'
                )
        return tuple(found)

    def _sketch(self, name: str) -> Sketch:
        return self.sketches.setdefault(name, Sketch())

    def to_json(self) -> dict[str, Any]:
        sketches = {name: [[h, c] for h, c in sorted(s.counts.items())] for name, s in self.sketches.items()}
        return {"requests": self.requests, "sketches": sketches}

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> Repeats:
        sketches = {
            name: Sketch({int(h): int(c) for h, c in pairs}) for name, pairs in held.get("sketches", {}).items()
        }
        return cls(int(held.get("requests", 0)), sketches)
