"""What the command line says of tokens: who may call, until when, and when they last did."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from record.errors import InputError
from record.printable import print_json, print_line
from ringside.terminal.options import opened
from ringside.terminal.output import tell_table


def list_tokens(config: Path | None, as_json: bool) -> None:
    """One line for each token that the settings name, in their order."""
    settings, record = opened(config)
    from service.token_list import LAST_USED, token_key

    used = {
        (sample.labels.get("token"), sample.labels.get("key")): datetime.fromtimestamp(sample.value, UTC)
        for sample in record.samples.all()
        if sample.name == LAST_USED
    }
    found: list[dict[str, Any]] = []
    for token in settings.serve.read_tokens():
        key = token_key(token.sha256)
        last = used.get((token.name, key))
        found.append(
            {
                "name": token.name,
                "key": key,
                "roles": list(token.roles),
                "expires_at": None if token.expires_at is None else token.expires_at.isoformat(),
                "expired": token.expires_at is not None and token.expires_at <= datetime.now(UTC),
                "last_used_at": None if last is None else last.isoformat(timespec="seconds"),
            }
        )
    if as_json:
        print_json(found)
    elif found:
        tell_table(["name", "key", "roles", "expires", "last used"], [_row(each) for each in found])
    else:
        print_line("no tokens: the service answers everybody on this machine, and nobody else")


def _row(token: dict[str, Any]) -> list[str]:
    expires = token["expires_at"] or "never"
    return [
        token["name"],
        token["key"],
        ", ".join(token["roles"]),
        f"{expires} (expired)" if token["expired"] else expires,
        token["last_used_at"] or "never",
    ]


def read_duration(text: str) -> timedelta:
    """A duration as settings have them; InputError says what was expected."""
    from pydantic import TypeAdapter, ValidationError

    from record.configuration.units import PositiveDuration

    try:
        return TypeAdapter(PositiveDuration).validate_python(text)
    except ValidationError:
        raise InputError(f'--keep: {text[:40]!r} is no duration; expected such as "90s", "15m", "1h" or "7d"') from None
