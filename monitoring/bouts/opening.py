"""Opens the bouts that are due, each with a design that is fixed from then on."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import numpy as np

from monitoring.bouts.contenders import contenders, family_rank, former_champion, read_unbarred
from monitoring.bouts.design import Design
from record.bouts.bout import Bout
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
            rank = family_rank([*bouts, *opened], roles, as_of, settings.promotion.family_window)
            opened.append(_open_challenge(record, settings, fence, as_of, roles, champion, challenger, rank))
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
    rank: int,
) -> Bout:
    design = Design.of_challenge(
        settings.promotion,
        rank=rank,
        loss=settings.promotion.loss,
        loss_scale=_loss_scale(record, settings, champion, challenger.read_until_seq, as_of),
        horizon=settings.quality.label_horizon,
    )
    return record.bouts.open(
        "challenge",
        challenger.version,
        champion.version,
        roles.generation,
        design.to_json(),
        challenger.read_until_seq,
        as_of,
        fence,
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
    after_seq = record.log.last_seq()
    design = Design.of_probation(
        settings.promotion,
        loss=settings.promotion.loss,
        loss_scale=_loss_scale(record, settings, former, after_seq, as_of),
        horizon=settings.quality.label_horizon,
    )
    return record.bouts.open(
        "probation", former.version, champion.version, roles.generation, design.to_json(), after_seq, as_of, fence
    )


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
