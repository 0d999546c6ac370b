"""Tokens made for the stack: each secret in a file of its own, and the list of their hashes that the service reads."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

from record.configuration.sections import TokenRole
from record.errors import SettingsError

# Who calls, and what each may do. The name is the actor in the audit trail, and the file's.
CALLERS: Final[Mapping[str, tuple[TokenRole, ...]]] = {
    "application": ("predict", "label"),
    "prometheus": ("read",),
    "alertmanager": ("alert",),
    "operator": ("operate",),
}
LIST: Final = "tokens.toml"
SECRET_BYTES: Final = 32  # 256 bits: nobody guesses it, so that a plain hash of it may be kept


def make_tokens(folder: Path, *, anew: bool = False) -> list[Path]:
    """The files written: one secret for each of CALLERS, and LIST, for `serve.tokens`. Only their owner may read them.

    SettingsError where there are tokens already, which programs may use, unless they are to be made `anew`.
    """
    if (folder / LIST).exists() and not anew:
        raise SettingsError(
            f"{folder / LIST} is there already; expected another folder, or --anew to replace all tokens"
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = {name: secrets.token_urlsafe(SECRET_BYTES) for name in CALLERS}
    written = [_write(folder / name, secret) for name, secret in made.items()]
    return [*written, _write(folder / LIST, _listed(made))]


def _listed(made: Mapping[str, str]) -> str:
    tables = [
        f'[[tokens]]\nname = "{name}"\nroles = [{", ".join(f"{role!r}" for role in CALLERS[name])}]\n'
        f'sha256 = "{sha256(secret.encode()).hexdigest()}"\n'
        for name, secret in made.items()
    ]
    return "\n".join(tables)


def _write(path: Path, text: str) -> Path:
    """In one step, and never readable by others, not even for a moment."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    fresh.replace(path)
    return path
