"""What kind of run this is: by which mode, from what, learning from which rows and judged on which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from record.configuration.loop_sections import RetrainSettings
from record.events import RetrainRequested
from record.log_lines import log_line
from record.record import Record
from record.work.run import Run
from retrain.data.dataset import Dataset
from retrain.division import Division, divide, known_entities
from retrain.evaluation.examination import Champion
from retrain.mode import ModeDecision, ModeFacts, choose_mode, refused_without_search, without_continuing
from retrain.recipe import Origin, champions_configuration
from retrain.search import SearchReport
from retrain.trials.trial import TrialReport
from retrain.window import ALL_ROWS, WindowDecision, champions_window, choose_window, keeps


@dataclass(frozen=True, slots=True)
class Plan:
    """`origin` is what an incremental run goes on from; the `holdout` is newer than what is learned from.

    Of the `newest` rows that were to be held out it has those whose age is in `ages`, 1 being the newest, and their
    entities stand in none of the rows that are learned from. The champion has met `known_entities`.

    `window` is None where the settings name one, which was applied as the rows were read.
    """

    decided: ModeDecision
    origin: Origin | None
    learn: Dataset
    holdout: Dataset
    newest: int
    ages: npt.NDArray[np.int64]
    known_entities: npt.NDArray[np.int64]
    window: WindowDecision | None = None

    def final(self, data: Dataset) -> Dataset:
        """Of all rows, those that the packaged model is fitted on."""
        return data if self.window is None else self.window.window.of(data)


def make_plan(settings: RetrainSettings, record: Record, run: Run, data: Dataset, champion: Champion | None) -> Plan:
    """A refit where an incremental run cannot go on with what is new among the rows."""
    decided = choose_mode(_facts(settings, record, run, champion))
    origin = None
    division = divide(data, champion, decided.mode, settings.holdout)
    if decided.mode == "incremental" and champion is not None:
        origin = Origin.read(record, champion.version)
        obstacle = origin.obstacle(division.learn)
        if obstacle is not None:
            decided, origin = without_continuing(decided, obstacle), None
            division = divide(data, champion, decided.mode, settings.holdout)
    log_line("mode chosen", run_id=run.run_id, mode=decided.mode, reasons=list(decided.reasons))
    _tell_left_out(run, data, division)
    window = _window(settings, decided, division.learn, division.holdout, champion)
    learn = division.learn if window is None else window.window.of(division.learn)
    if window is not None:
        log_line("window chosen", run_id=run.run_id, **window.to_json())
    known = known_entities(data, champion)
    return Plan(decided, origin, learn, division.holdout, division.newest, division.ages, known, window)


def _tell_left_out(run: Run, data: Dataset, division: Division) -> None:
    kept = len(division.learn) + len(division.holdout)
    if kept < len(data):
        log_line("entities on one side only", run_id=run.run_id, left_out=len(data) - kept, of=len(data))


def _window(
    settings: RetrainSettings, decided: ModeDecision, learn: Dataset, holdout: Dataset, champion: Champion | None
) -> WindowDecision | None:
    """Chosen where the recipe is; a refit keeps its champion's, and one that goes on learns from new rows alone."""
    if settings.window != "auto":
        return None
    if decided.mode == "full" or champion is None:
        return choose_window(settings, learn, holdout, settings.seed)
    if decided.mode == "incremental":
        return WindowDecision(ALL_ROWS, ("it goes on with what is new",), {})
    found = champions_window(champion.version.card)
    return found if keeps(found.window, learn, holdout) else choose_window(settings, learn, holdout, settings.seed)


def known(champion: Champion | None) -> SearchReport:
    """The champion's recipe, in place of a search."""
    assert champion is not None
    configuration = champions_configuration(champion.version.card)
    assert configuration is not None
    return SearchReport(TrialReport(0, configuration, None, 0.0), (), 0, 0.0)


def _facts(settings: RetrainSettings, record: Record, run: Run, champion: Champion | None) -> ModeFacts:
    card = champion.version.card if champion else {}
    requested = record.events.latest(RetrainRequested.kind)
    numbers = requested.data["numbers"] if requested is not None and requested.data["run_id"] == run.run_id else {}
    last = record.runs.latest("succeeded")
    searched = card.get("searched_at")
    return ModeFacts(
        asked=settings.mode,
        trigger=run.trigger,
        champion=champion.version.version if champion else None,
        obstacle=_obstacle(settings, card),
        refused=last is not None and refused_without_search(last.outcome, last.version),
        search_age=run.as_of - datetime.fromisoformat(searched) if searched and run.as_of else None,
        max_search_age=settings.max_age,
        staleness_cost=numbers.get("staleness_cost"),
        run_cost=numbers.get("run_cost"),
    )


def _obstacle(settings: RetrainSettings, card: Mapping[str, Any]) -> str | None:
    configuration = champions_configuration(card)
    if configuration is None:
        return "the champion's card names no recipe of this product"
    for part in configuration.parts:
        if part.family not in settings.families:
            whose = "the champion is" if part is configuration else "the champion is an ensemble with"
            return f"{whose} a {part.family}, which retrain.families leaves out"
    return None
