"""`ringside runs`: the retrain runs, and one run's whole story."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from record.printable import print_json
from ringside.terminal.options import ConfigOption, JsonOption, opened
from ringside.terminal.output import tell, tell_table

if TYPE_CHECKING:
    from record.work.run import Run

USUAL_LIMIT = 20


def runs(
    run_id: Annotated[str | None, typer.Argument(help="One run, whole; else the newest ones.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="So many at most.")] = USUAL_LIMIT,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the retrain runs, newest first, or tell one run's: who asked, why, how far it is, and what came of it.

    Example: ringside runs --limit 5
    """
    _, record = opened(config)
    if run_id is not None:
        tell(record.runs.get(run_id).to_json(), as_json)
        return
    found = record.runs.recent(limit)
    if as_json:
        print_json([run.to_json() for run in found])
        return
    heads = ["run", "state", "trigger", "by", "requested", "seconds", "version", "because"]
    tell_table(heads, [_row(run) for run in found])


def _row(run: Run) -> list[str]:
    seconds = "" if run.seconds is None else f"{run.seconds:.0f}"
    requested = run.requested_at.isoformat(timespec="seconds")
    why = str((run.outcome or {}).get("error") or (run.outcome or {}).get("reason") or run.reason)
    return [run.run_id, run.state, run.trigger, run.actor, requested, seconds, run.version or "", why]
