"""The commands that read the record and act on it; `ringside/commands.py` puts them on the command line."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from record.errors import DataError
from record.printable import print_json, print_line
from ringside.terminal.options import DONE, NO, ConfigOption, JsonOption, ReasonOption, opened, operator_name
from ringside.terminal.output import short, tell, tell_table
from ringside.terminal.sentences import comparison_words, event_line, judged_words

if TYPE_CHECKING:
    from record.record import Record
    from record.settings import Settings
    from record.versions.roles import Roles


def status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Say who is champion, who challenges, and how the service is doing.

    Example: ringside status --json
    """
    from service.status import status as read_status

    settings, record = opened(config)
    facts = read_status(record, settings)
    if not as_json:
        from ringside.terminal.sentences import challenger_lines, disk_lines

        facts["challengers"] = [line for each in facts["challengers"] for line in challenger_lines(each)]
        facts["disk"] = disk_lines(facts["disk"])
        if facts["run"]:
            facts["run"].pop("outcome", None)  # long; `ringside events --kind retrain_succeeded` has it
    tell(facts, as_json)


def models(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List every model version: what it is, where it stands, and its metrics on its own holdout.

    Metrics of different holdouts do not rank versions: `beside the champion` compares two on the same rows.

    Example: ringside models
    """
    _, record = opened(config)
    roles = record.registry.roles()
    listed = [
        {
            "version": version.version,
            "role": {roles.champion: "champion", roles.previous: "previous"}.get(version.version),
            "standing": version.standing,
            "registered_at": version.registered_at.isoformat(),
            "family": version.card.get("family"),
            "metrics": version.card.get("metrics", {}),
            "judged_on": {name: version.card.get(name) for name in ("holdout_rows", "data_until")},
            "comparison": version.card.get("comparison"),
            "report": record.reports.of_model(version.version),
            "digest": version.digest,
        }
        for version in record.registry.versions()
    ]
    if as_json:
        print_json(listed)
        return
    tell_table(
        ["version", "role", "standing", "family", "registered", "beside the champion", "judged on", "metrics"],
        [
            [
                m["version"],
                m["role"] or "",
                m["standing"],
                m["family"] or "",
                m["registered_at"][:19],
                comparison_words(m["comparison"]),
                judged_words(m["judged_on"]),
                short({name: each["value"] for name, each in m["metrics"].items()}),
            ]
            for m in listed
        ],
    )
    if len({(m["judged_on"]["holdout_rows"], m["judged_on"]["data_until"]) for m in listed}) > 1:
        print_line("Metrics are of different rows, so they do not rank versions; `beside the champion` is of the same.")


def retrain(reason: ReasonOption, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Ask the running watcher for a retrain. Exit code 1: one is requested or running already.

    Where columns were added, removed or changed since the champion was made, it says what that means for logged
    requests; a change that a challenger would fail for is refused with what to do instead (exit code 2).

    Example: ringside retrain --reason "new price list"
    """
    settings, record = opened(config)
    _tell_column_changes(settings, record)
    run = record.runs.request("operator", operator_name(), reason)
    tell({"run_id": run.run_id, "state": run.state}, as_json)


def _tell_column_changes(settings: Settings, record: Record) -> None:
    """What was changed in [columns] since the champion was made; raises DataError for what a run would refuse."""
    champion, problem = record.registry.roles().champion, settings.problem_schema()
    if champion is None or problem is None:
        return
    from record.contract.schema import Schema
    from retrain.data.logged_contract import column_changes

    before = Schema.from_json(record.registry.open(champion).read("schema.json")).problem
    for change in column_changes(record, before, problem):
        if change.refused:
            raise DataError(change.message, field=change.field)
        print_line(f"note: {change.message}", file=sys.stderr)


def promote(version: str, reason: ReasonOption, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Make a version champion. Exit code 1: it is so already, is barred, or promotion.approvers names others.

    Example: ringside promote v3 --reason "approved after review"
    """
    from record.bouts.approval import expect_approver

    settings, record = opened(config)
    expect_approver(settings.promotion.approvers, operator_name())
    _tell_roles(record.registry.promote(version, actor=operator_name(), reason=reason), as_json)


def reject(version: str, reason: ReasonOption, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Bar a version from becoming champion. Exit code 1: it is champion.

    Example: ringside reject v4 --reason "trained on broken data"
    """
    _, record = opened(config)
    record.registry.reject(version, actor=operator_name(), reason=reason)
    tell({"version": version, "standing": record.registry.version(version).standing}, as_json)


def unbar(version: str, reason: ReasonOption, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Lift the bar of a version that was rejected or rolled back: it may challenge again. Exit code 1: it has none.

    Example: ringside unbar v4 --reason "it was judged on a broken feed"
    """
    _, record = opened(config)
    lifted = record.registry.unbar(version, actor=operator_name(), reason=reason)
    facts = {"version": version, "standing": "eligible", "was": lifted.standing, "because": lifted.because}
    tell(facts, as_json)


def rollback(reason: ReasonOption, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Give the champion's role back to the version before. Exit code 1: there is none.

    Example: ringside rollback --reason "complaints since noon"
    """
    _, record = opened(config)
    _tell_roles(record.registry.rollback(actor=operator_name(), reason=reason), as_json)


def events(
    config: ConfigOption = None,
    kind: Annotated[str | None, typer.Option(help="Of this kind, such as model_promoted.")] = None,
    model: Annotated[str | None, typer.Option(help="About this version.")] = None,
    actor: Annotated[str | None, typer.Option(help="Caused by this actor.")] = None,
    since: Annotated[datetime | None, typer.Option(help="From this time on, UTC.")] = None,
    until: Annotated[datetime | None, typer.Option(help="Before this time, UTC.")] = None,
    q: Annotated[str | None, typer.Option("--search", "-q", help="Holding this text.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="So many at most; all if not given.")] = None,
    verify: Annotated[
        bool, typer.Option(help="Check the chain, and versions, roles and bouts against it. Exit code 1: not whole.")
    ] = False,
    expect: Annotated[
        list[str] | None,
        typer.Option(help="With --verify: a head noted earlier, which has to be in the trail. May be repeated."),
    ] = None,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Make every decision again from the record. Exit code 1: one differs.")
    ] = False,
    what_if: Annotated[
        Path | None,
        typer.Option("--what-if", help="Decide again under this file's settings, and print what would differ."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the audit trail, oldest first; with --json, one event on each line.

    Example: ringside events --kind model_promoted --since 2026-01-01
    """
    if expect and not verify:
        raise typer.BadParameter("needs --verify", param_hint="--expect")
    settings, record = opened(config)
    if recompute or what_if is not None:
        from ringside.terminal import audit_commands

        span = _utc(since), _utc(until)
        if what_if is not None:
            raise typer.Exit(audit_commands.what_if(record, settings, what_if, *span, as_json))
        raise typer.Exit(audit_commands.recompute(record, settings, *span, as_json))
    if verify:
        fault = record.database.integrity_fault()
        if fault is not None:
            tell({"valid": False, "record": f"the database file is damaged: {fault}"}, as_json)
            raise typer.Exit(NO)
        from record.trail_audit import audit_trail

        report = audit_trail(
            record.database,
            record.events,
            record.artifacts,
            expected=expect or (),
            anchor_file=settings.audit.anchor_file,
            archive=record.archive,
            hashes=True,
        )
        tell(asdict(report), as_json)
        raise typer.Exit(DONE if report.valid else NO)
    told = 0
    cursor: str | None = None
    while limit is None or told < limit:
        page, cursor = record.events.page(
            kind=kind,
            model=model,
            actor=actor,
            since=_utc(since),
            until=_utc(until),
            q=q,
            limit=min(1000, 1000 if limit is None else limit - told),
            cursor=cursor,
        )
        for event in page:
            print_line(event_line(event, as_json))
        told += len(page)
        if cursor is None:
            break


def explain(
    id: Annotated[str, typer.Argument(help="The id of an answered prediction.")],
    attribution: Annotated[
        bool, typer.Option(help="Ask the model again for what moved the prediction; or say only what is recorded.")
    ] = True,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Explain one answered prediction: who answered and why, what challengers said, the label, what moved it.

    Example: ringside explain order-17
    """
    from ringside.terminal.explanation import tell_explanation
    from service.explain.explainer import explain as attribute
    from service.explain.explanation import explanation

    settings, record = opened(config)
    told = explanation(record, settings, id, attribute if attribution else None)
    tell_explanation(told, as_json)


def _utc(at: datetime | None) -> datetime | None:
    return None if at is None else at.replace(tzinfo=UTC) if at.tzinfo is None else at


def _tell_roles(roles: Roles, as_json: bool) -> None:
    tell({"champion": roles.champion, "previous": roles.previous, "generation": roles.generation}, as_json)
