"""A look at a bout: pairs enter behind the watermark, in request order, and the evidence is worked out anew.

The order is the point. If delay depends on the outcome, pairs that enter as their labels arrive crown an equal model
every time; a request therefore enters when its time for labels is over, and only after every earlier request has
entered, or has been declared missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from monitoring.bouts.design import Design
from monitoring.bouts.evidence_look import Look
from monitoring.bouts.evidence_state import EvidenceState, MaturedPairs, Reading
from monitoring.bouts.matured_rows import MaturedRows
from monitoring.bouts.repeats import Repeats
from monitoring.bouts.shadow_report import ShadowReport, ShadowRun, report_shadow
from monitoring.bouts.slice_harm import SliceHarm
from record.bouts.bout import Bout, EnteredPair
from record.clock import MICROSECOND, from_micros, to_micros
from record.log.readable import readable_rows
from record.logged import MaturedRow
from record.record import Record

SHOWN_SLICES = 10  # of a look, the most harmed
PAGE_ROWS = 5000  # of the log held in memory at one time
MOST_ROWS = 200_000  # read by one look; the next goes on
DAY = timedelta(days=1)

Keep = Callable[[Sequence[MaturedRow]], Sequence[MaturedRow]]


@dataclass(frozen=True, slots=True)
class Examination:
    """A look, and what has to be written with it: the new pairs, and up to which request time they are complete."""

    look: Look
    entered: Sequence[EnteredPair]
    matured_until: datetime
    entities: Sequence[int]  # those that have asked for the first time in this bout
    state: dict[str, Any]  # of the evidence, for the next look to go on from


@dataclass(frozen=True, slots=True)
class Harvest:
    """What became of the requests between two watermarks."""

    pairs: list[EnteredPair]
    entities: list[int]
    matured: int
    labelled: int
    until: datetime
    behind: bool


def keep_all(rows: Sequence[MaturedRow]) -> Sequence[MaturedRow]:
    return rows


def examine(
    record: Record, bout: Bout, as_of: datetime, *, keep: Keep = keep_all, delay_depends: bool = False
) -> Examination:
    """The look at `as_of`. Reads only; what it says is written by `Bouts.enter_pairs`, in one transaction.

    Depends on the record alone: if that is never written, the next look is the same. `keep` says which requests are
    evidence at all; `delay_depends` is what the quality check has found of the labels' delay.
    """
    design = Design.from_json(bout.design)
    state = resume(record, bout, design)
    held = bout.evidence or {}
    repeats = Repeats.from_json(held.get("repeats", {}))
    slices = SliceHarm.from_json(held.get("slices", {"slices": {}}), design.slices, design.slice_tolerance)
    shadow = report_shadow(record.database, bout, ShadowRun.from_json(held.get("shadow", {})))
    new = _harvest(record, bout, design, as_of, state, repeats, slices, keep)
    state.close_cycles(to_micros(new.until))
    before = bout.look or {}
    look = read_look(
        state.read(design.alpha, design.needed),
        design,
        bout,
        as_of,
        matured=before.get("matured", 0) + new.matured,
        labelled=before.get("labelled", 0) + new.labelled,
        until=new.until,
        behind=new.behind,
        shadow=shadow,
        first_micros=state.first_pair_micros,
        delay_depends=delay_depends,
        warnings=() if design.entity is not None else repeats.warnings(),
    )
    look = replace(look, slices=tuple(slices.read(design.alpha_nominal)[:SHOWN_SLICES]))
    kept = {
        "pairs": state.to_json(),
        "repeats": repeats.to_json(),
        "shadow": shadow.run.to_json(),
        "slices": slices.to_json(),
    }
    return Examination(look, new.pairs, new.until, new.entities, kept)


def resume(record: Record, bout: Bout, design: Design) -> EvidenceState:
    """The state that the last look left; of a bout that is older than such states, made again from its pairs."""
    if bout.evidence is not None:
        return EvidenceState.from_json(bout.evidence["pairs"])
    return replay(record, bout, design)


def replay(record: Record, bout: Bout, design: Design) -> EvidenceState:
    """The state of all pairs that have entered, from the pairs themselves."""
    state = EvidenceState.start(design)
    columns = record.bouts.pair_columns(bout.bout)
    if len(columns.seqs):
        width = design.answers.width
        state.add(MaturedPairs.paired(columns.micros, columns.differences, columns.bounds, columns.counts, width))
    return state


def read_look(
    reading: Reading,
    design: Design,
    bout: Bout,
    as_of: datetime,
    *,
    matured: int,
    labelled: int,
    until: datetime,
    behind: bool,
    shadow: ShadowReport,
    first_micros: int | None,
    delay_depends: bool,
    warnings: tuple[str, ...],
) -> Look:
    """The look that a reading of the evidence makes."""
    first_matured = None if first_micros is None else from_micros(first_micros) + design.horizon
    to_go, days, in_time = _to_go(reading, design, bout, as_of, first_micros)
    return Look(
        as_of=as_of,
        opened_at=bout.opened_at,
        matured_until=until,
        pairs=reading.pairs,
        matured=matured,
        labelled=labelled,
        e_value=reading.e_value,
        e_max=reading.e_max,
        e_harm=reading.e_harm,
        e_harm_max=reading.e_harm_max,
        needed=design.needed,
        lead=reading.lead,
        whole_lead=reading.whole_lead,
        whole_cycles=reading.whole_cycles,
        design_effect=reading.design_effect,
        scale=reading.scale,
        variance=reading.variance,
        guardrails=shadow.guardrails(design),
        labels_to_go=to_go,
        days_to_go=days,
        in_time=in_time,
        lag_seconds=shadow.lag(as_of).total_seconds(),
        scored=shadow.scored,
        failed=shadow.failed,
        sampled_out=shadow.sampled_out,
        pending=shadow.pending,
        first_matured_at=first_matured,
        behind=behind,
        label_rate_e=reading.label_rate_e,
        label_rate_slope=reading.label_rate_slope,
        label_rate_testable=reading.label_rate_testable,
        missing_bias=reading.missing_bias if len(design.answers.classes) == 1 else 0.0,
        delay_depends=delay_depends,
        unlabelled=reading.unlabelled,
        unlabelled_lead=reading.unlabelled_lead,
        unlabelled_worst=reading.unlabelled_worst,
        warnings=warnings,
    )


def _to_go(
    reading: Reading, design: Design, bout: Bout, as_of: datetime, first_micros: int | None
) -> tuple[int | None, float | None, bool | None]:
    """Pairs and days until the evidence is there, if the challenger goes on as it did, and whether that is in time."""
    if not reading.pairs or first_micros is None:
        return None, None, None
    if reading.log_missing <= 0:
        return 0, 0.0, True
    if reading.growth <= 0:
        return None, None, None
    labels = int(np.ceil(reading.log_missing / reading.growth))
    first = from_micros(first_micros)
    span = max(as_of - design.horizon - first, timedelta(seconds=1))
    days = labels / reading.pairs * (span / DAY)
    deadline = max(bout.opened_at, first + design.horizon) + timedelta(seconds=design.deadline_seconds)
    return labels, days, days <= (deadline - as_of) / DAY


def _harvest(
    record: Record,
    bout: Bout,
    design: Design,
    as_of: datetime,
    state: EvidenceState,
    repeats: Repeats,
    slices: SliceHarm,
    keep: Keep,
) -> Harvest:
    """The pairs behind the watermark that have not entered yet.

    The watermark is where labels are over, or the first request that the shadow has not scored, whichever is first.
    A request that becomes visible behind a watermark is not looked for: that takes a commit later than the horizon,
    and cannot depend on the outcome.
    """
    pairs: list[EnteredPair] = []
    entities: dict[int, None] = {}
    matured = labelled = read = 0
    until = bout.matured_until
    if until is None and design.known_until is not None:
        until = datetime.fromisoformat(design.known_until)
    end = as_of - design.horizon
    while (until is None or until < end) and read < MOST_ROWS:
        rows, page_end = _page(record, bout, design, as_of, until, end)
        read += len(rows)
        scores = record.bouts.scores(bout.bout, [row.seq for row in rows])
        unscored = next((row.requested_at for row in rows if row.seq not in scores), None)
        if unscored is not None:
            rows = [row for row in rows if row.requested_at < unscored]
            page_end = unscored - MICROSECOND
        asked = [row for row in keep(rows) if scores[row.seq].outcome != "sampled_out"]
        readable = readable_rows(asked, numeric=design.loss == "absolute", job="bout")
        page = MaturedRows.read(readable, scores, design, _known_entities(record, bout, design, entities))
        repeats.add(readable)
        paired = page.columns.labelled & page.columns.counts
        records = [row.record for row, counted in zip(readable, paired.tolist(), strict=True) if counted]
        slices.add(records, page.columns.difference[paired])
        state.add(page.columns)
        pairs += page.pairs
        entities |= dict.fromkeys(page.new_entities)
        matured += len(asked)
        labelled += int(page.columns.labelled.sum())
        until = page_end if until is None else max(until, page_end)
        if unscored is not None:
            break
    behind = read >= MOST_ROWS and until is not None and until < end
    return Harvest(pairs, list(entities), matured, labelled, end if until is None else until, behind)


def _known_entities(
    record: Record, bout: Bout, design: Design, new: dict[int, None]
) -> Callable[[Sequence[int]], set[int]]:
    """Which of some entities have asked in this bout before."""

    def known(asked: Sequence[int]) -> set[int]:
        if design.entity is None:
            return set()
        return record.bouts.known_entities(bout.bout, asked) | {entity for entity in asked if entity in new}

    return known


def _page(
    record: Record, bout: Bout, design: Design, as_of: datetime, after: datetime | None, end: datetime
) -> tuple[list[MaturedRow], datetime]:
    """The next matured requests that the champion answered, and up to which request time these are all there are.

    Requests of one moment stay together: a page never ends between them.
    """
    limit = PAGE_ROWS
    while True:
        rows = record.log.matured(
            as_of,
            design.horizon,
            after=after,
            after_seq=bout.after_seq,
            model_version=bout.champion,
            limit=limit,
        )
        if len(rows) < limit:
            return rows, end
        last = rows[-1].requested_at
        whole = [row for row in rows if row.requested_at < last]
        if whole:
            return whole, whole[-1].requested_at
        limit *= 4
