"""Whether settings agree with one another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from record.settings import Settings


def disagreements(settings: Settings) -> Iterator[str]:
    """What no key says alone: each sentence names the key, its value and what was expected."""
    yield from _of_the_problem(settings)
    if settings.clock.source == "requests" and not settings.serve.loopback:
        yield f'clock.source: "requests" with serve.host "{settings.serve.host}"; expected a loopback host'
    if settings.drift.decide_every < settings.drift.every:
        yield "drift.decide_every: shorter than drift.every; expected at least as long"
    if settings.watch.lease < 2 * settings.watch.heartbeat:
        yield "watch.lease: shorter than two of watch.heartbeat; expected at least that"
    if settings.log.retention is not None and settings.log.retention < settings.quality.label_horizon:
        yield "log.retention: shorter than quality.label_horizon; nothing would ever mature"
    if settings.log.archive and settings.log.retention is None:
        yield "log.archive: true without log.retention; nothing ever leaves the log"
    if settings.log.id_window < settings.quality.label_horizon:
        yield "log.id_window: shorter than quality.label_horizon; late labels would find no request"


def _of_the_problem(settings: Settings) -> Iterator[str]:
    problem, columns, loss = settings.problem, settings.columns, settings.promotion.loss
    if problem.task == "regression" and problem.positive_class is not None:
        yield f"problem.positive_class: {problem.positive_class!r} with regression; expected none"
    if problem.false_positive_cost != problem.false_negative_cost:
        costs = f"{problem.false_negative_cost:g} beside a false_positive_cost of {problem.false_positive_cost:g}"
        if problem.task == "regression":
            yield f"problem.false_negative_cost: {costs}, with regression; expected none"
        elif problem.positive_class is None:
            yield f"problem.positive_class: none, with a false_negative_cost of {costs}; expected the class looked for"
        elif loss == "zero_one":  # it would promote whoever answers as if wrong answers cost alike
            yield f'promotion.loss: "zero_one" with a false_negative_cost of {costs}; expected "brier" or "log"'
    if (problem.task == "regression") != (loss == "absolute"):
        fitting = '"absolute"' if problem.task == "regression" else '"brier", "zero_one" or "log"'
        yield f'promotion.loss: "{loss}" with {problem.task}; expected {fitting}'
    if problem.target in columns:
        yield f"columns.{problem.target}: the target comes with labels; expected no such column in records"
    for name, column in columns.items():
        if column.type == "text" and column.role == "feature":
            yield f'columns.{name}.role: "feature" with type "text"; expected "carried" (or type "category")'
    never_fed = {problem.id_column: "problem.id_column"} | dict.fromkeys(problem.protected, "problem.protected")
    for never, key in never_fed.items():
        if never in columns and columns[never].role == "feature":
            yield f'columns.{never}.role: "feature" but named by {key}; expected "carried"'
    carried = {name for name, column in columns.items() if column.role == "carried"}
    if not columns:
        undeclared = (problem.id_column, problem.time_column, *problem.protected)
        carried = {name for name in undeclared if name is not None}
    for name in settings.log.redact:
        if name not in carried:
            listed = ", ".join(sorted(carried)) or "there is none"
            yield f"log.redact: {name!r} is no carried column; expected one of those ({listed})"
