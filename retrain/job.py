"""One retrain run, from the record to a registered version."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from retrain import gate
from retrain.card import write_card
from retrain.child import tree_bytes
from retrain.dataset import Dataset
from retrain.examination import Champion, Examination, examine
from retrain.gate import GateDecision
from retrain.memory import Memory, give_back
from retrain.mode import ModeDecision, ModeFacts, choose_mode, refused_without_search, without_continuing
from retrain.origin import code_digest, source_digest
from retrain.package import measure_latency_ms, package, prove_parity
from retrain.problem import problem_schema
from retrain.recipe import Origin, Recipe, champions_configuration
from retrain.report import render_report
from retrain.rows import read_rows
from retrain.search import Limits, SearchReport, TrialReport, search
from retrain.study import warm_start
from retrain.trial_record import TrialRecord, forget_runs, run_folder
from service.champion import ServedModel
from service.errors import DataError
from service.events import RetrainRequested
from service.failpoint import fail_point
from service.leases import Fence
from service.log_lines import log_line
from service.record import Record
from service.runs import Run
from service.sections import RetrainSettings
from service.settings import Settings

ACTOR = "retrain"

# Of the budget; the rest is for reading, judging, refitting and packaging.
SEARCH_SHARE = 0.85

# On fewer rows than this, a difference in loss that matters does not show.
ENOUGH_FRESH_ROWS = 500

Progress = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class RunResult:
    """`version` is None where the gate refused the candidate."""

    version: str | None
    gate: GateDecision
    seconds: float


def run(settings: Settings, record: Record, run_id: str, *, fence: Fence | None, progress: Progress) -> RunResult:
    """Trains, judges and registers, and ends the run in the record; the run is running when this is called.

    Raises DataError for data that cannot be learned from; the run is then still running, for the caller to fail.

    A run that another process began goes on from the trials that this one finished.
    """
    # One thread: beside a busy neighbour two of OpenMP's wait for each other, ten times slower than one alone; and
    # sums in one order make the same model bit for bit.
    with threadpool_limits(limits=1):
        # Before the source is read: where it changes meanwhile, the next look at it finds another one.
        origin = {"source": source_digest(settings), "code": code_digest(settings)}
        memory = Memory(settings.retrain.memory_limit, lambda: tree_bytes(os.getpid()))
        job = _Job(
            settings, record, record.runs.get(run_id), fence, _Teller(progress), time.monotonic(), origin, memory
        )
        job.tell("read")
        forget_runs(settings.store.artifacts, but=run_id)
        champion = read_champion(record)
        data = fitting(job, read_data(job, champion))
        if job.memory.economies:
            give_back()
        decided, origin_version = plan(job, data, champion)
        learn, holdout = divide(job, data, champion, decided)
        found = find(job, learn, champion) if decided.mode == "full" else known(champion)
        recipe = Recipe(found.best.configuration, settings.retrain.seed, origin_version)
        job.tell("judge", found)
        judged = examine(recipe.make, learn, holdout, champion, settings.promotion.loss, settings.retrain.seed)
        decision = gate.decide(finite=judged.candidate.finite, dummy=judged.dummy, champion=judged.champion)
        if not decision.passed:
            return _refused(job, decision, found, judged, decided)
        job.tell("refit", found)
        final = recipe.make(data)
        job.tell("package", found)
        return _packaged(job, final, data, holdout, found, judged, decision, champion, decided)


@dataclass(frozen=True, slots=True)
class _Job:
    settings: Settings
    record: Record
    run: Run
    fence: Fence | None
    tell: _Teller
    started: float
    origin: Mapping[str, str | None]
    memory: Memory

    def seconds(self) -> float:
        return time.monotonic() - self.started


def read_champion(record: Record) -> Champion | None:
    """The champion, loaded as it serves; ArtifactError where its files are not what was registered."""
    name = record.registry.roles().champion
    if name is None:
        return None
    version = record.registry.version(name)
    return Champion(ServedModel.load(record.registry.directory(name), name, version.digest), version)


def read_data(job: _Job, champion: Champion | None) -> Dataset:
    """The source, and the log as it stood at the run's `as_of`."""
    schema = problem_schema(job.settings, champion.model.schema if champion else None)
    data = read_rows(job.settings, job.record, schema, job.run.as_of or job.record.clock.now())
    fail_point("retrain.read")
    return data


def fitting(job: _Job, data: Dataset) -> Dataset:
    """The newest rows that a model can be fitted on within the memory; the others are let go."""
    rows = job.memory.rows(len(data), len(data.schema.problem.features), "run")
    if rows == len(data):
        return data
    kept = data.take(np.arange(len(data) - rows, len(data)))
    log_line("fewer rows for want of memory", run_id=job.run.run_id, rows=rows, of=len(data))
    return kept


def plan(job: _Job, data: Dataset, champion: Champion | None) -> tuple[ModeDecision, Origin | None]:
    """What kind of run this is, and, of an incremental one, what it goes on from."""
    settings, run, card = job.settings.retrain, job.run, champion.version.card if champion else {}
    requested = job.record.events.latest(RetrainRequested.kind)
    numbers = requested.data["numbers"] if requested is not None and requested.data["run_id"] == run.run_id else {}
    last = next((held for held in job.record.runs.recent() if held.state == "succeeded"), None)
    searched = card.get("searched_at")
    decided = choose_mode(
        ModeFacts(
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
    )
    origin = None
    if decided.mode == "incremental" and champion is not None:
        origin = Origin.read(job.record, champion.version)
        obstacle = origin.obstacle(divide(job, data, champion, decided)[0])
        if obstacle is not None:
            decided, origin = without_continuing(decided, obstacle), None
    log_line("mode chosen", run_id=run.run_id, mode=decided.mode, reasons=list(decided.reasons))
    return decided, origin


def divide(job: _Job, data: Dataset, champion: Champion | None, decided: ModeDecision) -> tuple[Dataset, Dataset]:
    """As `split`. An incremental run learns from new rows, and is judged on newer ones: half of them at most."""
    share, fresh = job.settings.retrain.holdout, fresh_rows(data, champion)
    if decided.mode == "incremental":
        held = max(1, min(round(len(data) * share), fresh // 2))
        return data.rows(0, len(data) - held), data.rows(len(data) - held)
    return split(data, share, fresh)


def known(champion: Champion | None) -> SearchReport:
    """The champion's recipe, in place of a search."""
    assert champion is not None
    configuration = champions_configuration(champion.version.card)
    assert configuration is not None
    return SearchReport(TrialReport(0, configuration, None, 0.0), (), 0, 0.0)


def _obstacle(settings: RetrainSettings, card: Mapping[str, Any]) -> str | None:
    configuration = champions_configuration(card)
    if configuration is None:
        return "the champion's card names no recipe of this product"
    if configuration.family not in settings.families:
        return f"the champion is a {configuration.family}, which retrain.families leaves out"
    return None


def split(data: Dataset, share: float, fresh: int = 0) -> tuple[Dataset, Dataset]:
    """The rows to learn from, and the newest `share` of all, held out.

    Where the champion has not seen the newest `fresh` rows, and these are enough to judge by, no more than they are
    held out: the champion was refitted on all it knew, and a candidate kept from rows that the champion learned
    from would be compared at a loss.
    """
    held = min(len(data) - 1, max(1, round(len(data) * share)))
    if fresh >= ENOUGH_FRESH_ROWS:
        held = min(held, fresh)
    return data.rows(0, len(data) - held), data.rows(len(data) - held)


def fresh_rows(data: Dataset, champion: Champion | None) -> int:
    """How many rows are later than everything that the champion learned from."""
    if champion is None:
        return 0
    return int(data.fresh(champion.version.read_until_seq, champion.version.data_until).sum())


def find(job: _Job, learn: Dataset, champion: Champion | None) -> SearchReport:
    """The best configuration on the rows before the holdout, within the trials or what is left of the budget.

    It begins with what the champion's search has found, and goes on with the trials that the run has finished in
    an earlier process.
    """
    settings = job.settings.retrain
    budget = settings.budget.total_seconds() * SEARCH_SHARE - job.seconds()
    limits = Limits(settings.trials, max(0.0, budget))
    warm = warm_start(champion.version.card) if champion else ()
    record = TrialRecord(
        run_folder(job.settings.store.artifacts, job.run.run_id),
        {
            "data": learn.fingerprint(),
            "seed": settings.seed,
            "families": settings.families,
            "by_trials": settings.trials is not None,
            "warm": [configuration.to_json() for configuration in warm],
            "code": job.origin["code"],
        },
    )
    if record.kept:
        log_line("search goes on", run_id=job.run.run_id, trials=len(record.kept))
    found = search(
        learn, settings.families, limits, settings.seed, job.tell.trial, warm=warm, record=record, memory=job.memory
    )
    fail_point("retrain.searched")
    return found


def _packaged(
    job: _Job,
    final: Pipeline,
    data: Dataset,
    holdout: Dataset,
    found: SearchReport,
    judged: Examination,
    decision: GateDecision,
    champion: Champion | None,
    decided: ModeDecision,
) -> RunResult:
    """Writes the version's files, proves them, and registers them; or refuses them, and leaves nothing behind."""
    settings, record = job.settings, job.record
    parent = champion.version.version if champion else None
    read_until = _read_until(job, data)
    stage = record.artifacts.stage()
    try:
        model = package(stage, final, data, _answers(data, judged), settings.retrain.seed)
        parity = prove_parity(model, final, holdout, judged.target_sd)
        latency_ms = measure_latency_ms(model, holdout.arrays.rows(0, 1))
        decision = gate.with_parity(decision, parity)
        decision = gate.with_latency(decision, latency_ms, settings.retrain.max_latency_ms)
        if not decision.passed:
            record.artifacts.discard(stage)
            return _refused(job, decision, found, judged, decided)
        card = write_card(
            settings, data, holdout, found, judged, decision, parity,
            latency_ms=latency_ms, read_until_seq=read_until, parent=parent, chain_head=record.events.head(),
            economies=job.memory.economies, mode=decided, as_of=job.run.as_of,
            searched=_searched(job, champion, decided),
        )  # fmt: skip
        (stage / "report.html").write_text(render_report(card, judged, holdout), encoding="utf-8")
        fail_point("retrain.packaged")
    except BaseException:
        record.artifacts.discard(stage)
        raise
    version = record.registry.register(
        stage,
        run_id=job.run.run_id,
        parent=parent,
        card=card,
        read_until_seq=read_until,
        data_until=data.data_until,
        actor=ACTOR,
        lease=job.fence,
        finish=_ending(job, decision, found, decided),
        as_champion=champion is None,
    )
    forget_runs(settings.store.artifacts)
    record.reports.add("model", record.registry.directory(version.version) / "report.html", version.version)
    log_line("version registered", run_id=job.run.run_id, version=version.version, family=card["family"])
    return RunResult(version.version, decision, job.seconds())


def _ending(
    job: _Job, decision: GateDecision, found: SearchReport, decided: ModeDecision
) -> Callable[[sa.Connection, str], None]:
    """Ends the run in the transaction that registers its version."""
    outcome = {"gate": decision.to_json(), "family": found.best.configuration.family, "origin": job.origin}
    outcome["mode"] = decided.to_json()

    def end(connection: sa.Connection, version: str) -> None:
        job.record.runs.succeed(job.run.run_id, version, outcome, connection)

    return end


def _searched(job: _Job, champion: Champion | None, decided: ModeDecision) -> Mapping[str, Any]:
    """When the recipe was searched for, and the best of that study: the champion's where this run made no search."""
    if decided.mode == "full" or champion is None:
        return {"searched_at": job.run.as_of}
    card = champion.version.card
    return {name: card[name] for name in ("searched_at", "study") if name in card}


def _refused(
    job: _Job, decision: GateDecision, found: SearchReport, judged: Examination, decided: ModeDecision
) -> RunResult:
    outcome = {
        "gate": decision.to_json(),
        **found.best.configuration.to_json(),
        "metrics": {name: interval.value for name, interval in judged.candidate.metrics.items()},
        "origin": job.origin,
        "mode": decided.to_json(),
    }
    job.record.runs.succeed(job.run.run_id, None, outcome)
    forget_runs(job.settings.store.artifacts)
    log_line("candidate refused", run_id=job.run.run_id, reasons=list(decision.reasons))
    return RunResult(None, decision, job.seconds())


def _read_until(job: _Job, data: Dataset) -> int:
    """The last request that this run can have learned from; evidence begins behind it.

    Where the log is left out, its requests may still have come back by way of the source.
    """
    if job.settings.data.include_labelled_log:
        return int(data.seqs.max())
    return job.record.log.last_seq(job.run.as_of)


def _answers(data: Dataset, judged: Examination) -> dict[str, npt.NDArray[np.float64]]:
    """What the candidate said on rows that it was not fitted on, under the name that the drift check looks for."""
    held = np.full(len(data), np.nan)
    scores = judged.candidate.scores
    learned = len(data) - len(scores)
    if data.classes == 0:
        held[learned:] = scores
        return {"prediction": held}
    watched = data.schema.problem.positive_class or data.schema.classes[-1]
    if watched not in data.schema.classes:
        raise DataError(
            f"problem.positive_class: {watched!r} is no class of the target; found {', '.join(data.schema.classes)}",
            field="problem.positive_class",
        )
    held[learned:] = scores[:, data.schema.classes.index(watched)]
    return {f"probability.{watched}": held}


class _Teller:
    """Says what the run is doing: at every new stage, and within the search at most twice a second."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._last = 0.0

    def __call__(self, stage: str, found: SearchReport | None = None) -> None:
        best = found.best.loss if found else None
        done = len(found.trials) if found else 0
        self._progress({"stage": stage, "done": done, "total": done or None, "best": best, "seconds_left": None})

    def trial(self, done: int, total: int | None, best: float | None, left: float | None) -> None:
        now = time.monotonic()
        if now - self._last < 0.5 and done not in (0, total):
            return
        self._last = now
        seconds = None if left is None else round(left, 1)
        self._progress({"stage": "search", "done": done, "total": total, "best": best, "seconds_left": seconds})
