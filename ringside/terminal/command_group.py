"""The list of commands: each with its whole first sentence, and no dangerous guess for a misspelt one."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, Final

from typer.core import TyperGroup

# A typing slip must not lead to what cannot be taken back by reading on.
STATE_CHANGING: Final = frozenset(
    {"demo", "promote", "rekey", "reject", "retrain", "rollback", "tokens", "train", "unbar"}
)
WHOLE_SENTENCE: Final = 1_000  # characters; the formatter wraps it to the terminal's width


class CommandGroup(TyperGroup):
    """A group of commands whose help lines are not cut, and which suggests only commands that change nothing."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands, each with the whole first sentence of its help."""
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        rows = [
            (name, command.get_short_help_str(WHOLE_SENTENCE))
            for name, command in commands.items()
            if command is not None and not command.hidden
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that the arguments name; a usage error names a near one that is safe to try."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            safe = [known for known in self.commands if known not in STATE_CHANGING]
            near = get_close_matches(name, safe, n=2)
            advice = f"Did you mean {' or '.join(map(repr, near))}?" if near else "`ringside --help` lists them."
            ctx.fail(f"No such command {name!r}. {advice}")
        return super().resolve_command(ctx, args)
