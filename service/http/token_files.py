"""Tokens made for the stack: each secret in a file of its own, and the list of their hashes that the service reads."""

from __future__ import annotations

import json
import os
import secrets
import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final

from record.clock import machine_now
from record.configuration.sections import Token, TokenRole, parse_tokens
from record.errors import SettingsError
from record.ownership import give_descriptor_to_owner, make_folder

# Who calls, and what each may do. The name is the actor in the audit trail, and the file's.
CALLERS: Final[Mapping[str, tuple[TokenRole, ...]]] = {
    "application": ("predict", "label"),
    "prometheus": ("read",),
    "alertmanager": ("alert",),
    "operator": ("operate",),
}
LIST: Final = "tokens.toml"
SECRET_BYTES: Final = 32  # 256 bits: nobody guesses it, so that a plain hash of it may be kept


def make_tokens(folder: Path, *, anew: bool = False, keep: timedelta | None = None) -> list[Path]:
    """The files written: one secret for each of CALLERS, and LIST, for `serve.tokens`. Only their owner may read them.

    SettingsError where there are tokens already, which programs may use, unless they are to be made `anew`; with
    `keep`, those that are replaced count for so long. A running service takes the list without a restart.
    """
    if (folder / LIST).exists() and not anew:
        raise SettingsError(
            f"{folder / LIST} is there already; expected another folder, or --anew to replace all tokens"
        )
    make_folder(folder, 0o700)
    kept = [] if keep is None else _kept(folder / LIST, machine_now() + keep)
    made = {name: secrets.token_urlsafe(SECRET_BYTES) for name in CALLERS}
    fresh = [
        Token(name=name, roles=CALLERS[name], sha256=sha256(secret.encode()).hexdigest())
        for name, secret in made.items()
    ]
    if kept:  # old and new ones count before anybody is given a new one
        _write(folder / LIST, _listed([*fresh, *kept]))
    written = [_write(folder / name, secret) for name, secret in made.items()]
    return [*written, _write(folder / LIST, _listed([*fresh, *kept]))]


def _kept(path: Path, until: datetime) -> list[Token]:
    """The tokens listed there that are valid, none of them beyond `until`."""
    if not path.exists():
        return []
    try:
        held = parse_tokens(tomllib.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError) as error:
        raise SettingsError(
            f"{path}: not a list of tokens ({error.__class__.__name__}); expected one, or no --keep"
        ) from None
    now = machine_now()
    ends = [until if token.expires_at is None else min(until, token.expires_at) for token in held]
    return [token.model_copy(update={"expires_at": end}) for token, end in zip(held, ends, strict=True) if end > now]


def _listed(tokens: Sequence[Token]) -> str:
    tables = []
    for token in tokens:
        table = f"[[tokens]]\nname = {json.dumps(token.name)}\nroles = {json.dumps(token.roles)}\n"
        table += f'sha256 = "{token.sha256}"\n'
        if token.expires_at is not None:
            table += f"expires_at = {token.expires_at.astimezone(UTC).isoformat(timespec='seconds')}\n"
        tables.append(table)
    return "\n".join(tables)


def _write(path: Path, text: str) -> Path:
    """Never readable by others, not even for a moment; in one step where the file is new.

    One that is there is written in place: a container has the file itself mounted, and would keep the old one.
    """
    if path.exists():
        with path.open("r+", encoding="utf-8") as file:
            file.write(text)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
        return path
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        give_descriptor_to_owner(file.fileno(), path.parent)
    fresh.replace(path)
    return path
