"""One retrain run, from the record to a registered version."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import psutil
import sqlalchemy as sa
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from record.clock import machine_now
from record.errors import DataError
from record.failpoint import fail_point
from record.log_lines import log_line
from record.record import Record
from record.settings import Settings
from record.work.leases import Fence
from record.work.run import Run
from retrain import gate
from retrain.card import write_card
from retrain.child import tree_bytes
from retrain.data.dataset import Dataset
from retrain.data.logged_contract import expect_readable_log
from retrain.data.origin import code_digest, source_digest
from retrain.data.problem import problem_schema
from retrain.data.read_until import read_until_seq
from retrain.data.rows import read_rows
from retrain.evaluation.examination import Champion, Examination, examine, read_champion
from retrain.evaluation.insight import Insight, insight_seconds, look_into
from retrain.gate import GateDecision
from retrain.guards.broken_rows import set_slips_aside, told_findings
from retrain.guards.finding import Finding
from retrain.guards.inspection import GuardContext, inspect_data, refuse
from retrain.guards.profile import profile_data
from retrain.guards.representation import read_populations
from retrain.mode import ModeDecision
from retrain.models.threshold import MOST_PROBABLE, Costs, ThresholdDecision, choose_threshold, keep_threshold
from retrain.package import measure_latency_ms, package, prove_parity
from retrain.plan import Plan, known, make_plan
from retrain.recipe import Recipe
from retrain.report.model_page import model_report
from retrain.search import SearchReport, search
from retrain.study import best_of_families, warm_start
from retrain.telling import Progress, Teller
from retrain.thinning import thinned
from retrain.timetable import Clocks, Timetable
from retrain.trials.codings import described
from retrain.trials.memory import Memory, give_back
from retrain.trials.record import TrialRecord, forget_runs, run_folder
from retrain.trials.trial import Limits

ACTOR = "retrain"

Written = TypeVar("Written")


@dataclass(frozen=True, slots=True)
class RunResult:
    """`version` is None where the gate refused the candidate."""

    version: str | None
    gate: GateDecision
    seconds: float


def run(
    settings: Settings,
    record: Record,
    run_id: str,
    *,
    fence: Fence | None,
    progress: Progress,
    writer: Executor | None = None,
    clocks: Clocks | None = None,
) -> RunResult:
    """Trains, judges and registers, and ends the run in the record; the run is running when this is called.

    The record is written by `writer`, where the calling thread is too nice to hold a lock that others wait for.

    Raises DataError for data that cannot be learned from; the run is then still running, for the caller to fail.

    A run that another process began goes on from the trials that this one finished.
    """
    # One thread: beside a busy neighbour two of OpenMP's wait for each other, ten times slower than one alone; and
    # sums in one order make the same model bit for bit.
    with threadpool_limits(limits=1):
        # Before the source is read: where it changes meanwhile, the next look at it finds another one.
        origin = {"source": source_digest(settings), "code": code_digest(settings)}
        memory = Memory(settings.retrain.memory_limit, lambda: tree_bytes(os.getpid()))
        tell = Teller(progress, settings.problem.task)
        this = record.runs.get(run_id)
        budget = settings.retrain.budget.total_seconds() if settings.retrain.trials is None else None
        timetable = Timetable(budget, clocks or Clocks(), _seconds_before(this))
        job = _Job(settings, record, this, fence, tell, timetable, origin, memory, writer)
        job.tell("read")
        forget_runs(settings.store.artifacts, but=run_id)
        reading_began = timetable.clocks.now()
        champion = read_champion(record)
        data, aside = set_aside(job, read_data(job, champion), champion)
        data = fitting(job, data)
        if job.memory.economies:
            give_back()
        plan = make_plan(settings.retrain, record, job.run, data, champion)
        findings = (*aside, *guard(job, data, plan.newest))
        data = plan.final(data)
        timetable.have_read(*timetable.clocks.since(reading_began))
        found = find(job, plan.learn, champion) if plan.decided.mode == "full" else known(champion)
        recipe = Recipe(found.best.configuration, settings.retrain.seed, plan.origin)
        job.tell("judge", found)
        fitting_began = timetable.clocks.now()
        made = recipe.make(plan.learn)
        fit_seconds, processor = timetable.clocks.since(fitting_began)
        timetable.have_fitted(fit_seconds, processor, len(data) / len(plan.learn))
        chosen, fitted = thinned(recipe.configuration, made, plan.holdout, settings.retrain.max_latency_ms)
        if chosen != recipe.configuration:
            recipe, found = replace(recipe, configuration=chosen), found.of(chosen)
        threshold = decide_threshold(job, found, plan, champion)
        judged = examine(
            fitted, plan.learn, plan.holdout, champion, settings.promotion.scoring, settings.retrain.seed,
            MOST_PROBABLE if threshold is None else threshold.rule(plan.holdout.schema), timetable,
            plan.known_entities,
        )  # fmt: skip
        decision = gate.decide(finite=judged.candidate.finite, dummy=judged.dummy, champion=judged.champion)
        candidate = _Candidate(plan, findings, found, judged, decision, threshold)
        if not decision.passed:
            return _refused(job, candidate)
        insight = look_into(
            recipe.make, fitted, plan.learn, plan.holdout, judged, settings.retrain.seed,
            min(insight_seconds(settings.retrain.budget.total_seconds()), timetable.spare()), fit_seconds, timetable,
        )  # fmt: skip
        job.tell("refit", found)
        final = recipe.make(data)
        timetable.final_fit = 0.0
        job.tell("package", found)
        return _packaged(job, final, data, candidate, insight, champion)


def _seconds_before(run: Run) -> float:
    """What the run has taken before now in this process: from the interpreter's start, where it is the run's own."""
    since = run.machine_started_at
    if since is None:
        return 0.0
    age = time.time() - psutil.Process().create_time()
    return max(0.0, min((machine_now() - since).total_seconds(), age))


@dataclass(frozen=True, slots=True)
class _Job:
    settings: Settings
    record: Record
    run: Run
    fence: Fence | None
    tell: Teller
    timetable: Timetable
    origin: Mapping[str, str | None]
    memory: Memory
    writer: Executor | None

    def seconds(self) -> float:
        return self.timetable.elapsed()

    def write(self, call: Callable[[], Written]) -> Written:
        """What the call returns or raises, made where the record is written."""
        return call() if self.writer is None else self.writer.submit(call).result()


@dataclass(frozen=True, slots=True)
class _Candidate:
    """What came of a run, and what the gate says of it."""

    plan: Plan
    findings: tuple[Finding, ...]
    found: SearchReport
    judged: Examination
    decision: GateDecision
    threshold: ThresholdDecision | None


def read_data(job: _Job, champion: Champion | None) -> Dataset:
    """The source, and the log as it stood at the run's `as_of`."""
    schema = problem_schema(job.settings, champion.model.schema if champion else None)
    if champion is not None:
        expect_readable_log(job.record, champion.model.schema.problem, schema)
    data = read_rows(job.settings, job.record, schema, job.run.as_of or job.record.clock.now())
    _check_positive_class(data)
    _check_costs(job.settings, data)
    fail_point("retrain.read")
    return data


def _check_costs(settings: Settings, data: Dataset) -> None:
    """Raises DataError where wrong answers cost otherwise than alike, and the target has not two classes."""
    problem = settings.problem
    costs = Costs(problem.false_positive_cost, problem.false_negative_cost)
    if data.classes and not costs.equal and data.schema.watched is None:
        raise DataError(
            f"problem.false_positive_cost, false_negative_cost: {costs.false_positive:g} and {costs.false_negative:g} "
            f"with {len(data.schema.classes)} classes; expected two",
            field="problem.false_positive_cost",
        )


def _check_positive_class(data: Dataset) -> None:
    """Raises DataError where the class that is looked for is none of the target's."""
    positive = data.schema.problem.positive_class
    if data.classes and positive is not None and positive not in data.schema.classes:
        raise DataError(
            f"problem.positive_class: {positive!r} is no class of the target; found {', '.join(data.schema.classes)}",
            field="problem.positive_class",
        )


def set_aside(job: _Job, data: Dataset, champion: Champion | None) -> tuple[Dataset, tuple[Finding, ...]]:
    """The rows without those of a broken feed, and what has been found of it. What was learned is no longer judged."""
    findings = told_findings(data)
    if champion is not None and not job.settings.data.include_set_aside:
        known = ~data.fresh(champion.version.read_until_seq, champion.version.data_until)
        data, slips = set_slips_aside(data, known, champion.model.schema)
        findings += slips
    for finding in findings:
        log_line("rows set aside", run_id=job.run.run_id, finding=str(finding))
    return data, findings


def fitting(job: _Job, data: Dataset) -> Dataset:
    """The newest rows that a model can be fitted on within the memory; the others are let go."""
    rows = job.memory.rows(len(data), len(data.schema.problem.features), "run")
    if rows == len(data):
        return data
    kept = data.take(np.arange(len(data) - rows, len(data)))
    log_line("fewer rows for want of memory", run_id=job.run.run_id, rows=rows, of=len(data))
    return kept


def guard(job: _Job, data: Dataset, held: int) -> tuple[Finding, ...]:
    """What is wrong with the data, none of it an error; raises DataRefused where one is."""
    job.tell("guard")
    as_of = job.run.as_of or job.record.clock.now()
    populations = read_populations(job.settings, job.record, as_of)
    findings = inspect_data(data, GuardContext(job.settings.guards, held, populations))
    for finding in findings:
        log_line("data finding", run_id=job.run.run_id, severity=finding.severity, finding=str(finding))
    refuse(findings)
    return findings


def find(job: _Job, learn: Dataset, champion: Champion | None) -> SearchReport:
    """The best configuration on the rows before the holdout, within the trials or what is left of the budget.

    It begins with what the champion's search has found, and goes on with the trials that the run has finished in
    an earlier process.
    """
    settings = job.settings.retrain
    limits = Limits(settings.trials, max(0.0, min(settings.budget.total_seconds(), job.timetable.search_left())))
    warm = warm_start(champion.version.card) if champion else ()
    record = TrialRecord(
        run_folder(job.settings.store.artifacts, job.run.run_id),
        {
            "data": learn.fingerprint(),
            "seed": settings.seed,
            "families": settings.families,
            "features": settings.features,
            "by_trials": settings.trials is not None,
            "warm": [configuration.to_json() for configuration in warm],
            "code": job.origin["code"],
        },
    )
    if record.kept:
        log_line("search goes on", run_id=job.run.run_id, trials=len(record.kept))
    found = search(
        learn, settings.families, limits, settings.seed, job.tell.trial, warm=warm, record=record, memory=job.memory,
        processes=min(settings.processes, os.cpu_count() or 1), stages=settings.features,
        timetable=job.timetable,
    )  # fmt: skip
    fail_point("retrain.searched")
    return found


def decide_threshold(job: _Job, found: SearchReport, plan: Plan, champion: Champion | None) -> ThresholdDecision | None:
    """From which probability on the positive class is answered; None where wrong answers cost alike."""
    problem, schema = job.settings.problem, plan.learn.schema
    costs = Costs(problem.false_positive_cost, problem.false_negative_cost)
    if costs.equal:
        return None
    watched = schema.watched
    assert watched is not None  # as the data was read
    held = found.out_of_fold
    if held is None:
        return keep_threshold(costs, champion.version.card if champion else {})
    answers = held.answers(found.best.configuration)
    chances = None if answers is None else answers[:, watched]
    return choose_threshold(costs, chances, held.target == watched)


def _packaged(
    job: _Job, final: Pipeline, data: Dataset, candidate: _Candidate, insight: Insight, champion: Champion | None
) -> RunResult:
    """Writes the version's files, proves them, and registers them; or refuses them, and leaves nothing behind."""
    plan, found, judged = candidate.plan, candidate.found, candidate.judged
    settings, record = job.settings, job.record
    parent = champion.version.version if champion else None
    read_until = read_until_seq(settings, record, data, job.run.as_of or record.clock.now())
    stage, name = record.artifacts.stage(), record.reports.new_name("model")
    try:
        model = package(stage, final, data, _answers(data, plan.ages, judged), settings.retrain.seed)
        parity = prove_parity(model, final, plan.holdout, judged.target_sd)
        latency_ms = measure_latency_ms(model, plan.holdout.arrays.rows(0, 1))
        decision = gate.with_parity(candidate.decision, parity)
        decision = gate.with_latency(decision, latency_ms, settings.retrain.max_latency_ms)
        candidate = replace(candidate, decision=decision)
        if not decision.passed:
            record.artifacts.discard(stage)
            return _refused(job, candidate)
        profile = profile_data(data, plan.newest) if job.timetable.affords("profile of the data", 0.5) else None
        card = write_card(
            settings, data, plan.holdout, found, judged, decision, parity,
            latency_ms=latency_ms, read_until_seq=read_until, parent=parent, chain_head=record.events.head(),
            economies=job.memory.economies, mode=plan.decided, as_of=job.run.as_of,
            features=described(final, data.schema.problem), searched=_searched(job, champion, plan.decided),
            window=plan.window, findings=candidate.findings, insight=insight, threshold=candidate.threshold,
            left_out=job.timetable.left_out, report=name,
        )  # fmt: skip
        page = model_report(
            card, judged, insight, plan.holdout.schema.classes, settings.problem.target, profile, settings.units()
        )
        fail_point("retrain.packaged")
    except BaseException:
        record.artifacts.discard(stage)
        raise
    version = job.write(
        lambda: record.registry.register(
            stage,
            run_id=job.run.run_id,
            parent=parent,
            card=card,
            read_until_seq=read_until,
            data_until=data.known_until,
            actor=ACTOR,
            lease=job.fence,
            finish=_ending(job, candidate),
            named_files=lambda version: {"report.html": page.html(version).encode("utf-8", "replace")},
            as_champion=champion is None,
        )
    )
    forget_runs(settings.store.artifacts)
    report = record.registry.directory(version.version) / "report.html"
    job.write(lambda: record.reports.add("model", report, version.version, name))
    log_line("version registered", run_id=job.run.run_id, version=version.version, family=card["family"])
    return RunResult(version.version, decision, job.seconds())


def _ending(job: _Job, candidate: _Candidate) -> Callable[[sa.Connection, str], None]:
    """Ends the run in the transaction that registers its version."""
    family = candidate.found.best.configuration.family
    outcome: dict[str, Any] = {"gate": candidate.decision.to_json(), "family": family, "origin": job.origin}
    outcome |= {"mode": candidate.plan.decided.to_json(), "findings": _plain(candidate.findings)}

    def end(connection: sa.Connection, version: str) -> None:
        job.record.runs.succeed(job.run.run_id, version, outcome, connection)

    return end


def _searched(job: _Job, champion: Champion | None, decided: ModeDecision) -> Mapping[str, Any]:
    """When the recipe was searched for, and the best of that study: the champion's where this run made no search."""
    if decided.mode == "full" or champion is None:
        return {"searched_at": job.run.as_of}
    card = champion.version.card
    return {name: card[name] for name in ("searched_at", "study") if name in card}


def _refused(job: _Job, candidate: _Candidate) -> RunResult:
    decision = candidate.decision
    outcome = {
        "gate": decision.to_json(),
        **candidate.found.best.configuration.to_json(),
        "metrics": {name: interval.value for name, interval in candidate.judged.candidate.metrics.items()},
        "trials": best_of_families(candidate.found),
        "origin": job.origin,
        "mode": candidate.plan.decided.to_json(),
        "findings": _plain(candidate.findings),
    }
    job.write(lambda: job.record.runs.succeed(job.run.run_id, None, outcome))
    forget_runs(job.settings.store.artifacts)
    log_line("candidate refused", run_id=job.run.run_id, reasons=list(decision.reasons))
    return RunResult(None, decision, job.seconds())


def _plain(findings: tuple[Finding, ...]) -> list[dict[str, Any]]:
    return [finding.to_json() for finding in findings]


def _answers(data: Dataset, ages: npt.NDArray[np.int64], judged: Examination) -> npt.NDArray[np.float64]:
    """The candidate's scores on rows that it was not fitted on, one for each class; NaN on the others."""
    scores = judged.candidate.scores
    held = np.full((len(data), *scores.shape[1:]), np.nan)
    held[len(data) - ages] = scores
    return held
