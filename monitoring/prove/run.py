"""Runs every case of `ringside prove`, on some processes side by side, and says what holds."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

from monitoring.prove.bout_cases import BoutCase, bout_cases
from monitoring.prove.controls import arrival_order, repeated_t_test
from monitoring.prove.course import Course
from monitoring.prove.decline_cases import rises, sound_years
from monitoring.prove.drift_cases import quiet_quarters, shifts
from monitoring.prove.joined import agreement, killed, known_rows, repeated_labels
from monitoring.prove.spending import weekly_retrains
from monitoring.prove.stream_cases import stream_targets
from monitoring.prove.target import Target

Effort = Literal["short", "quick", "whole"]
SEED = 20_261_130


@dataclass(frozen=True, slots=True)
class Done:
    """What one case said, and how long it took. `behind` counts promotions with a lead that the margin forbids."""

    name: str
    targets: tuple[Target, ...]
    behind: int
    promoted: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Proof:
    """All targets in the order of the table."""

    targets: tuple[Target, ...]
    seconds: float
    effort: Effort

    @property
    def holds(self) -> bool:
        """Whether no target that was measured is missed."""
        return all(target.holds is not False for target in self.targets)

    def to_json(self) -> dict[str, Any]:
        return {
            "targets": {target.name: target.to_json() for target in self.targets},
            "holds": self.holds,
            "seconds": round(self.seconds, 1),
            "effort": self.effort,
        }


def prove(
    effort: Effort,
    data: Path | None,
    show: Callable[[Done, int, int], None],
    *,
    processes: int | None = None,
    only: str | None = None,
) -> Proof:
    """Every case, or those whose name holds `only`. `show` is told of each that is done, and how many there are."""
    began = time.monotonic()
    names = [name for name in tasks(effort, data) if only is None or only in name]
    done: dict[str, Done] = {}
    workers = max(1, min(processes or os.cpu_count() or 1, len(names)))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(carry_out, name, effort, data): name for name in names}
        for future in as_completed(waiting):
            found = future.result()
            done[found.name] = found
            show(found, len(done), len(names))
    targets = [target for name in names for target in done[name].targets]
    if only is None:
        targets.insert(1, _never_behind(done.values()))
        targets += _skipped(data)
    return Proof(tuple(targets), time.monotonic() - began, effort)


def tasks(effort: Effort, data: Path | None) -> Mapping[str, Callable[[], tuple[list[Target], Sequence[Course]]]]:
    """Every unit of work by its name; the longest first, so that no process waits for the last one long."""
    few = {"short": 12, "quick": 60, "whole": 200}[effort]
    found: dict[str, Callable[[], tuple[list[Target], Sequence[Course]]]] = {
        "known_rows": lambda: (known_rows(2 if effort == "short" else 5), ()),
        "drift_quiet": lambda: (quiet_quarters({"short": 1, "quick": 4, "whole": 24}[effort]), ()),
        "drift_shifts": lambda: (shifts({"short": 3, "quick": 9, "whole": 41}[effort]), ()),
    }
    for case in bout_cases():
        found[case.name] = _bout_task(case, effort)
    found |= {
        "decline_sound": lambda: (sound_years(few), ()),
        "decline_rises": lambda: (rises(few), ()),
        "weekly_retrains": lambda: (weekly_retrains(), ()),
        "repeated_t_test": lambda: (repeated_t_test(few * 4), ()),
        "arrival_order": lambda: (arrival_order(max(20, few // 2)), ()),
        "join_agrees": lambda: (agreement({"short": 2, "quick": 6, "whole": 20}[effort]), ()),
        "labels_repeated": lambda: (repeated_labels({"short": 1, "quick": 3, "whole": 8}[effort]), ()),
        "killed": lambda: (killed(), ()),
    }
    if data is not None:
        found["streams"] = lambda: (stream_targets(data, whole=effort == "whole"), ())
    return found


def carry_out(name: str, effort: Effort, data: Path | None) -> Done:
    """One unit of work, in a process of its own."""
    began = time.monotonic()
    targets, courses = tasks(effort, data)[name]()
    promoted = [course for course in courses if course.outcome == "promote"]
    behind = sum(course.lead < 0 for course in promoted)
    return Done(name, tuple(targets), behind, len(promoted), time.monotonic() - began)


def _bout_task(case: BoutCase, effort: Effort) -> Callable[[], tuple[list[Target], Sequence[Course]]]:
    runs = {"short": 20, "quick": case.quick_runs, "whole": case.runs}[effort]

    def play() -> tuple[list[Target], Sequence[Course]]:
        courses = case.courses(runs, SEED)
        return case.judge(case, courses), courses

    return play


def _never_behind(done: Iterator[Done] | Any) -> Target:
    """Of all simulated promotions, those whose lead at that moment was below −margin."""
    held = list(done)
    behind, promoted = sum(each.behind for each in held), sum(each.promoted for each in held)
    title = "promotions with a lead below −margin, of all that were simulated"
    return Target("promotions_behind", "acting on what stands", title, float(behind), 0.0, unit="count", runs=promoted)


def _skipped(data: Path | None) -> list[Target]:
    if data is not None:
        return []
    why = "no --data: real streams are in a folder of Parquet files"
    group = "real streams, exchangeable models"
    return [
        Target("streams_promoted", group, "promoted in real order", None, 0.05, skipped=why),
        Target("streams_behind", group, "of the promoted, behind in the next 5,000 labels", None, 0.05, skipped=why),
        Target("streams_behind_kept", group, "of these, not sent back by the probation", None, 0.05, skipped=why),
    ]
