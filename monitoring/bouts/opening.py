"""Opens the bouts that are due, each with a design that is fixed from then on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from monitoring.bouts.contenders import contenders, former_champion, read_unbarred
from monitoring.bouts.design import Design
from monitoring.bouts.family import family_share
from monitoring.bouts.forecast import PAIRED_SHARE, Forecast, forecasts
from monitoring.bouts.known_rows import KnownRows, known_to
from monitoring.bouts.slice_harm import SliceColumn, slice_columns
from monitoring.bouts.traffic import Traffic, read_traffic
from monitoring.quality.loss import Costs
from record.bouts.bout import Bout, BoutKind
from record.contract.schema import canonical_class
from record.errors import RoleConflict
from record.log.label_arrivals import requests_between
from record.log_lines import log_line
from record.record import Record
from record.registry import ModelVersion, Roles
from record.settings import Settings
from record.work.leases import Fence

# The median of fewer errors says little; the champion's card has one from its holdout.
ENOUGH_ERRORS = 100
# The median of so many is known to about a hundredth of their spread; of a month's millions more are never read.
SAMPLED_REQUESTS = 20_000
SLICED_REQUESTS = 2_000  # of which a number's fifths are taken
CYCLES = {"none": timedelta(0), "day": timedelta(days=1), "week": timedelta(days=7)}


def open_due_bouts(record: Record, settings: Settings, fence: Fence | None, as_of: datetime) -> list[Bout]:
    """Opens what is due: first the probation of a new champion, then challenges, the newest versions first.

    Nothing is opened twice; a champion that moves meanwhile leaves the rest to the next call.
    """
    roles = record.registry.roles()
    if roles.champion is None:
        return []
    versions = record.registry.versions()
    champion = record.registry.version(roles.champion)
    bouts = record.bouts.all()
    opened: list[Bout] = []
    try:
        former = former_champion(versions, roles, bouts)
        if former is not None and settings.promotion.rollback_watch > 0:
            opened.append(_open_probation(record, settings, fence, as_of, roles, champion, former))
        unbarred = read_unbarred(record.events)
        for challenger in contenders(versions, roles, bouts, settings.promotion.max_challengers, unbarred):
            if challenger.version in unbarred:  # what judged it once does not judge it again
                behind = max(challenger.read_until_seq, unbarred[challenger.version].after_seq)
                challenger = replace(challenger, read_until_seq=behind)
            everybody = [*bouts, *opened]
            opened.append(_open_challenge(record, settings, fence, as_of, roles, champion, challenger, everybody))
    except RoleConflict as conflict:
        log_line("bout not opened", reason=conflict.message)
    return opened


def _open_challenge(
    record: Record,
    settings: Settings,
    fence: Fence | None,
    as_of: datetime,
    roles: Roles,
    champion: ModelVersion,
    challenger: ModelVersion,
    bouts: Sequence[Bout],
) -> Bout:
    promotion = settings.promotion
    known = known_to(record, challenger, champion)
    traffic = read_traffic(record, settings, champion, as_of)
    design = Design.of_challenge(
        promotion,
        share=family_share(
            bouts, champion.version, challenger.version, as_of, promotion.family_window, promotion.alpha
        ),
        loss=promotion.loss,
        loss_scale=_loss_scale(record, settings, champion, known.seq, as_of),
        horizon=settings.quality.label_horizon,
        known_until=known.until,
        entity=settings.problem.entity_column,
        cycle=CYCLES[promotion.cycle if promotion.cycle != "auto" else traffic.cycle],
        answers=traffic.answers,
        slices=_slices(record, settings),
        costs=_costs(settings),
    )
    design = replace(design, forecasts=_forecasts(bouts, champion.version, design, traffic))
    return _open(record, "challenge", challenger, champion, roles, design, known, as_of, fence)


def _forecasts(bouts: Sequence[Bout], champion: str, design: Design, traffic: Traffic) -> tuple[Forecast, ...]:
    """By the variance that earlier bouts against this champion have shown, else by that of its own losses."""
    shown = [(bout.look or {}).get("variance") for bout in bouts if bout.champion == champion]
    known = [float(variance) for variance in shown if variance]
    return forecasts(
        loss=traffic.loss,
        variance=known[-1] if known else PAIRED_SHARE * (traffic.loss_variance or traffic.loss**2),
        labels_a_day=traffic.labels_a_day * design.sampling,
        needed=design.needed,
        fewest=design.min_pairs,
        deadline_days=design.deadline_seconds / 86_400,
        cycle_days=design.cycle_seconds / 86_400,
    )


def _open_probation(
    record: Record,
    settings: Settings,
    fence: Fence | None,
    as_of: datetime,
    roles: Roles,
    champion: ModelVersion,
    former: ModelVersion,
) -> Bout:
    read = known_to(record, former, champion)
    known = KnownRows(max(read.seq, record.log.last_seq()), read.until)
    design = Design.of_probation(
        settings.promotion,
        loss=settings.promotion.loss,
        loss_scale=_loss_scale(record, settings, former, known.seq, as_of),
        horizon=settings.quality.label_horizon,
        known_until=known.until,
        entity=settings.problem.entity_column,
        answers=read_traffic(record, settings, former, as_of).answers,
        costs=_costs(settings),
    )
    return _open(record, "probation", former, champion, roles, design, known, as_of, fence)


def _open(
    record: Record,
    kind: BoutKind,
    challenger: ModelVersion,
    champion: ModelVersion,
    roles: Roles,
    design: Design,
    known: KnownRows,
    as_of: datetime,
    fence: Fence | None,
) -> Bout:
    """The assertion at opening: nobody is judged on a request that one of the two may have learned from."""
    for model in (challenger, champion):
        newest = KnownRows.of(model)
        if known.seq < newest.seq or newest.after(known):
            raise ValueError(f"{model.version} has learned from {newest}; its bout may not begin at {known}")
    return record.bouts.open(
        kind, challenger.version, champion.version, roles.generation, design.to_json(), known.seq, as_of, fence
    )


def _costs(settings: Settings) -> Costs | None:
    """What wrong decisions cost, where promotion goes by that."""
    problem = settings.problem
    if settings.promotion.loss != "cost" or problem.positive_class is None:
        return None
    positive = canonical_class(problem.positive_class)
    return Costs.scaled(positive, problem.false_positive_cost, problem.false_negative_cost)


def _slices(record: Record, settings: Settings) -> tuple[SliceColumn, ...]:
    """The configured slices and the protected groups, with the cuts of numbers as the newest requests have them."""
    names = [*settings.quality.slices, *settings.problem.protected]
    if not names:
        return ()
    last = record.log.last_seq()
    rows = record.log.between(max(0, last - SLICED_REQUESTS), last)
    return slice_columns(names, [row.record for row in rows])


def _loss_scale(record: Record, settings: Settings, champion: ModelVersion, until_seq: int, as_of: datetime) -> float:
    """Regression: three times the champion's median error before the evidence begins, else what its card says."""
    if settings.promotion.loss != "absolute":
        return 1.0
    horizon = settings.quality.label_horizon
    after, until = as_of - horizon - settings.quality.window, as_of - horizon
    share = min(1.0, SAMPLED_REQUESTS / max(1, requests_between(record.database, after, until)))
    rows = record.log.matured(as_of, horizon, after=after, model_version=champion.version, share=share)
    errors = [
        abs(float(row.prediction) - float(row.label)) for row in rows if row.label is not None and row.seq <= until_seq
    ]
    scale = 3 * float(np.median(errors)) if len(errors) >= ENOUGH_ERRORS else 0.0
    for candidate in (scale, champion.card.get("loss_scale"), champion.card.get("target_sd")):
        if candidate is not None and np.isfinite(candidate) and candidate > 0:
            return float(candidate)
    return 1.0
