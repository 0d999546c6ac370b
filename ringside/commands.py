"""The command line.

Commands read and act on the record that ringside.toml names, on this machine; each imports what it needs when it
runs, so that `--help` answers at once.
"""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from record.errors import Absent, DataError, InputError, RingsideError, SettingsError
from record.printable import print_error, print_json, print_line
from record.product_version import product_version
from record.standard_streams import open_standard_streams
from retrain.progress import progress_shown
from ringside.terminal.bout_commands import bouts
from ringside.terminal.command_group import CommandGroup
from ringside.terminal.key_command import rekey
from ringside.terminal.options import (
    DONE,
    NO,
    USAGE,
    ConfigOption,
    JsonOption,
    ReasonOption,
    opened,
    operator_name,
    settings_of,
)
from ringside.terminal.output import Made, tell, tell_findings, tell_run, write_output
from ringside.terminal.predict_command import predict
from ringside.terminal.prove_command import prove
from ringside.terminal.record_commands import events, explain, models, promote, reject, retrain, rollback, status, unbar
from ringside.terminal.run_commands import runs
from ringside.terminal.schema_command import schema
from ringside.terminal.token_commands import list_tokens, read_duration

if TYPE_CHECKING:
    from record.record import Record
    from record.settings import Settings

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print_line(f"ringside {product_version()}")
        raise typer.Exit


@app.callback()
def ringside(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Keeps a tabular machine-learning model accurate in production, by itself, with proof."""


def main() -> None:
    """Runs the command line and exits: 0 done, 1 the answer is no, 2 bad usage or settings."""
    open_standard_streams()
    try:
        app(prog_name="ringside")
    except RingsideError as error:
        print_error(error, "ringside")
        sys.exit(USAGE if isinstance(error, SettingsError | InputError | DataError | Absent) else NO)
    except BrokenPipeError:  # `ringside events | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(DONE)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        fault = _database_fault(error)
        if fault is None:
            raise
        print_error(fault, "ringside")
        sys.exit(USAGE)


def _database_fault(error: Exception) -> RingsideError | None:
    """One sentence for a database that went away while a command worked; None for any other fault."""
    if "sqlalchemy" not in sys.modules:
        return None
    from sqlalchemy.exc import DBAPIError

    from record.db.database_url import database_fault

    return database_fault(error) if isinstance(error, DBAPIError) else None


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where data, models and the picture go; emptied first.")] = Path(
        "demo-output"
    ),
    every: Annotated[int, typer.Option(min=1, help="Take every N-th flight.")] = 5,
    connections: Annotated[int, typer.Option(min=1, help="HTTP connections to the service.")] = 8,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The service's port; 0: a free one.")] = 0,
    leave: Annotated[bool, typer.Option("--exit", help="Leave at the end instead of staying up.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Run the whole loop live on a year of flights out of New York: about five minutes.

    Example: ringside demo --every 50 --exit
    """
    try:
        from examples.flights.demo import run_demo
    except ModuleNotFoundError as error:
        raise SettingsError(f"the demo needs {error.name}; install it by: pip install 'ringside[demo]'") from error
    raise typer.Exit(run_demo(folder, every=every, connections=connections, port=port, leave=leave, as_json=as_json))


@app.command()
def init(
    data: Annotated[Path, typer.Argument(help="A CSV or Parquet file.")],
    target: Annotated[str, typer.Option(help="The column to predict.")],
    output: Annotated[Path, typer.Option(help="The settings file to write.")] = Path("ringside.toml"),
    force: Annotated[bool, typer.Option(help="Write over a file that is there.")] = False,
) -> None:
    """Look at a data file and write a commented ringside.toml for it.

    Example: ringside init orders.csv --target returned
    """
    from record.configuration.inspection import inspect
    from record.configuration.template import render_toml

    if output.exists() and not force:
        raise SettingsError(f"{output} is there already; expected another --output, or --force to write over it")
    inspection = inspect(data, target)
    source = str(data) if data.is_absolute() else os.path.relpath(data.absolute(), output.absolute().parent)
    write_output(output, render_toml(inspection, source))
    print_line(f"{inspection.rows} rows, {len(inspection.columns)} columns, {inspection.task} of {target!r}")
    for finding in inspection.findings:
        print_line(f"note: {finding.column or data.name}: {finding.message}")
    print_line(f"wrote {output}; look it over, then: ringside train")


@app.command()
def train(config: ConfigOption = None, reason: ReasonOption = "asked for", as_json: JsonOption = False) -> None:
    """Train a model now. The first becomes champion, each later one a challenger. Exit code 1: none was made.

    Example: ringside train --config ringside.toml
    """
    from retrain.child import ending_in_order, run_for_command, run_supervised

    settings, record = opened(config)
    run = run_for_command(settings, record, operator_name(), reason)
    if run.state == "running":
        print_line(f"goes on with {run.run_id}, whose process is gone", file=sys.stderr)
    with ending_in_order(), progress_shown() as show:
        run_supervised(settings, record, run.run_id, show)
    ended = record.runs.get(run.run_id)
    made = None if ended.version is None else _made(settings, record, ended.version)
    tell_run(ended, made, as_json)
    raise typer.Exit(NO if made is None else DONE)


def _made(settings: Settings, record: Record, name: str) -> Made:
    version, roles, config = record.registry.version(name), record.registry.roles(), settings.path
    own = "" if config is None or config == Path.cwd() / "ringside.toml" else f" --config {shlex.quote(str(config))}"
    report = record.reports.of_model(name)
    host = f"[{settings.serve.host}]" if ":" in settings.serve.host else settings.serve.host
    url = None if report is None else f"http://{host}:{settings.serve.port}/reports/{report}"
    if roles.champion == name:
        step = f"ringside up{own}, which serves {name}, the champion"
    else:
        step = f"ringside status{own}; while `ringside up` runs, {name} challenges {roles.champion} on live requests"
    return Made(version, record.registry.directory(name) / "report.html", url, step)


@app.command()
def profile(
    config: ConfigOption = None,
    output: Annotated[Path, typer.Option(help="The page to write.")] = Path("profile.html"),
    as_json: JsonOption = False,
) -> None:
    """Look at the data as a run would see them: a page of plots, and what the guards find. Exit code 1: an error.

    Example: ringside profile --output profile.html
    """
    from retrain.exploration import explore

    settings, record = opened(config)
    found = explore(settings, record)
    write_output(output, found.page)
    findings = [finding.to_json() for finding in found.findings]
    if as_json:
        print_json({"page": str(output), "rows": found.profile.rows, "findings": findings})
    else:
        tell_findings(findings)
        print_line(f"{found.profile.rows} rows; wrote {output}")
    raise typer.Exit(NO if any(finding["severity"] == "error" for finding in findings) else DONE)


@app.command()
def reproduce(
    version: Annotated[str, typer.Argument(help="A model version.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a version again from its card, and compare it byte by byte. Exit code 1: something differs, and what.

    Example: ringside reproduce v3
    """
    from retrain.reproduction import reproduce as make_again

    settings, record = opened(config)
    found = make_again(settings, record, version)
    tell(asdict(found), as_json)
    raise typer.Exit(DONE if found.same else NO)


@app.command()
def up(
    config: ConfigOption = None,
    log_folder: Annotated[Path | None, typer.Option(help="Where the programs' logs go; else to this terminal.")] = None,
) -> None:
    """Run the prediction service and the watcher, restart what dies, stop all on Ctrl-C.

    Example: ringside up --config ringside.toml
    """
    from monitoring.supervision.up import run_up

    raise typer.Exit(run_up(settings_of(config), log_folder.absolute() if log_folder else None))


@app.command()
def watch(config: ConfigOption = None) -> None:
    """Run the watcher alone, where the service runs elsewhere on the same record.

    Example: ringside watch --config /etc/ringside.toml
    """
    os.environ["RINGSIDE_CONFIG"] = str(settings_of(config).path)
    os.execv(sys.executable, [sys.executable, "-m", "monitoring"])


@app.command()
def tokens(
    folder: Annotated[Path | None, typer.Argument(help="Where they go; for their owner alone.")] = None,
    anew: Annotated[
        bool, typer.Option("--anew", help="Replace those that are there; the old ones are refused.")
    ] = False,
    keep: Annotated[
        str | None, typer.Option(help='With --anew: how long the old ones still count, such as "1h".')
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="List the tokens of serve.tokens, and when each was used last.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make tokens for applications, Prometheus, Alertmanager and operators, and the list that serve.tokens names.

    A running service takes a changed list without a restart. With --list, say who may call.

    Example: ringside tokens /etc/ringside/tokens
    """
    from service.http.token_files import LIST, make_tokens

    if listed == (folder is not None):
        raise typer.BadParameter("expected either the folder in which to make tokens, or --list")
    if keep is not None and not anew:
        raise typer.BadParameter("--keep says how long replaced tokens count; expected --anew with it")
    if folder is None:
        list_tokens(config, as_json)
        return
    for file in make_tokens(folder.absolute(), anew=anew, keep=None if keep is None else read_duration(keep)):
        print_line(file)
    print_line(f'in ringside.toml: [serve] tokens = "{folder.absolute() / LIST}"')


OF_THE_RECORD = (status, models, explain, events, retrain, promote, reject, unbar, rollback, bouts, runs, rekey)
for command in (*OF_THE_RECORD, prove, predict, schema):
    app.command()(command)
