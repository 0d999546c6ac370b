"""A look at the data as the next run would see them, without a run."""

from __future__ import annotations

from dataclasses import dataclass

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from record.record import Record
from record.settings import Settings
from retrain.data.problem import problem_schema
from retrain.data.rows import read_rows
from retrain.division import divide
from retrain.evaluation.examination import read_champion
from retrain.guards.finding import Finding
from retrain.guards.inspection import GuardContext, inspect_data
from retrain.guards.profile import Profile, profile_data
from retrain.guards.representation import read_populations
from retrain.report.profile_page import render_profile


@dataclass(frozen=True, slots=True)
class Exploration:
    """What the guards would say of a run begun now, and a page that shows it with the data's profile."""

    findings: tuple[Finding, ...]
    profile: Profile
    page: str


def explore(settings: Settings, record: Record) -> Exploration:
    """Reads source and log as they stand now. Raises DataError where a run could not learn from them at all."""
    champion = read_champion(record)
    as_of = record.clock.now()
    with threadpool_limits(limits=1):
        data = read_rows(settings, record, problem_schema(settings, champion.model.schema if champion else None), as_of)
        newest = divide(data, champion, "full", settings.retrain.holdout).newest
        populations = read_populations(settings, record, as_of)
        findings = inspect_data(data, GuardContext(settings.guards, newest, populations))
        profile = profile_data(data, newest)
    page = render_profile(settings.problem.name, [finding.to_json() for finding in findings], profile)
    return Exploration(findings, profile, page)
