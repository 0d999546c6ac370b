"""What commands have in common: exit codes, options, the settings and the record that they work on, and who asks."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from record.record import Record
    from record.settings import Settings

LONGEST_REASON = 1000
DONE, NO, USAGE = 0, 1, 2  # the exit codes: done; the answer is no; bad usage or settings

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", envvar="RINGSIDE_CONFIG", help="The settings file; ./ringside.toml if not given."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON value.")]


def _reason(text: str) -> str:
    """As over HTTP: an empty one says nothing to whoever reads the trail."""
    if not text.strip() or len(text) > LONGEST_REASON:
        raise typer.BadParameter(f"expected a text of 1 to {LONGEST_REASON:,} characters")
    return text.strip()


ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it stands in the audit trail.", callback=_reason)]


def settings_of(config: Path | None) -> Settings:
    from record.settings import load_settings

    return load_settings(config)


def opened(config: Path | None) -> tuple[Settings, Record]:
    from record.record import open_record

    settings = settings_of(config)
    return settings, open_record(settings)


def operator_name() -> str:
    """Who is at the keyboard: the name that stands in the audit trail."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"uid-{os.getuid()}"
