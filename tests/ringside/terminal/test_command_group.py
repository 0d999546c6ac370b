"""The list of commands: whole sentences, safe suggestions, the version, completion, and no colours unless wanted."""

from __future__ import annotations

import os
import subprocess
import sys
from difflib import get_close_matches
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from record.product_version import product_version
from ringside.commands import app
from ringside.terminal.command_group import STATE_CHANGING, CommandGroup

PROGRAM = Path(sys.executable).with_name("ringside")


def command_names() -> list[str]:
    group = get_command(app)
    assert isinstance(group, CommandGroup)
    return list(group.commands)


def test_the_version_is_printed() -> None:
    outcome = CliRunner().invoke(app, ["--version"])
    assert (outcome.exit_code, outcome.output) == (0, f"ringside {product_version()}\n")


def test_no_help_line_is_cut_on_eighty_columns() -> None:
    outcome = CliRunner().invoke(app, ["--help"], terminal_width=80, env={"COLUMNS": "80"})
    assert outcome.exit_code == 0
    assert "..." not in outcome.output.partition("Commands:")[2]
    assert max(map(len, outcome.output.splitlines())) <= 80


@pytest.mark.parametrize("name", sorted(STATE_CHANGING))
def test_a_slip_never_suggests_a_command_that_changes_state(name: str) -> None:
    """Each way of leaving out or doubling one letter of such a command's name."""
    slips = {name[:at] + name[at + 1 :] for at in range(len(name))} | {
        name[:at] + name[at] + name[at:] for at in range(len(name))
    }
    for slip in slips - set(command_names()):
        outcome = CliRunner().invoke(app, [slip])
        assert outcome.exit_code == 2
        suggested = outcome.output.partition("Did you mean")[2]
        assert not any(repr(dangerous) in suggested for dangerous in STATE_CHANGING), outcome.output


def test_a_slip_suggests_a_command_that_only_reads() -> None:
    outcome = CliRunner().invoke(app, ["stats"])
    assert outcome.exit_code == 2
    assert "No such command 'stats'. Did you mean 'status'?" in outcome.output


def test_every_command_that_changes_state_is_one_of_ours() -> None:
    assert set(command_names()) >= STATE_CHANGING
    assert get_close_matches("rejec", command_names()), "the library's own guess would name it"


def test_completion_names_the_commands() -> None:
    environment = {**os.environ, "_RINGSIDE_COMPLETE": "complete_bash", "COMP_WORDS": "ringside pro", "COMP_CWORD": "1"}
    completed = subprocess.run([PROGRAM], env=environment, capture_output=True, text=True, check=False)
    assert set(completed.stdout.split()) >= {"profile", "promote", "prove"}


def test_no_color_leaves_no_colours_in_a_terminal() -> None:
    """Progress is drawn with cursor movements; NO_COLOR takes the colours from it."""
    code = (
        "import sys; from rich.console import Console; from retrain import progress;"
        "real = Console;"
        "import rich.console; rich.console.Console = lambda **given: real(**given, force_terminal=True);\n"
        "with progress.progress_shown() as show:\n    show({'stage': 'search', 'done': 1, 'total': 2, 'best': 0.5})"
    )
    bare = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    coloured, plain = (
        subprocess.run(
            [sys.executable, "-c", code],
            env=bare | {"TERM": "xterm-256color", "COLORTERM": "truecolor"} | more,
            capture_output=True,
            text=True,
            check=True,
        ).stderr
        for more in ({}, {"NO_COLOR": "1"})
    )
    assert "\x1b[38;" in coloured
    assert "search" in plain
    assert "\x1b[38;" not in plain
