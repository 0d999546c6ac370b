"""The tokens in force: those of the settings, or of their file, which is read anew when it changes.

So a token can be added, replaced or taken away without a restart. What changed is an event; when each token was used
last stands among the record's samples, to the minute.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from record.canonical import canonical_json
from record.configuration.sections import ServeSettings, Token
from record.errors import SettingsError
from record.event_log import EventLog
from record.events import TokensChanged
from record.redaction import fingerprint

ACTOR: Final = "service"
LAST_USED: Final = (
    "token_last_used"  # a sample that no replica shows among its metrics: names of callers are not for all
)


def token_key(sha256: str) -> str:
    """Eight digits that tell two tokens of one name apart, and from which none can be guessed in bulk."""
    return fingerprint(sha256)


class TokenList:
    """The tokens that count now. Use it from one thread."""

    def __init__(self, serve: ServeSettings) -> None:
        """SettingsError where the file cannot be read: a service does not start without its tokens."""
        self._serve = serve
        self._file = serve.tokens if isinstance(serve.tokens, Path) else None
        self._stamp = _stamp(self._file)
        self._seen = self._stamp
        self.tokens: tuple[Token, ...] = serve.read_tokens()

    def refresh(self) -> bool:
        """Read the file again where it has changed and is quiet; whether the tokens are others now.

        A file is quiet when two looks in a row find it the same: it may be written in place. SettingsError where it
        cannot be used; the tokens stay as they were, so that no slip of the pen opens or closes the service. The same
        file is complained of once.
        """
        if self._file is None:
            return False
        now, before = _stamp(self._file), self._seen
        self._seen = now
        if now == self._stamp or now != before:
            return False
        self._stamp = now
        tokens = self._serve.read_tokens()
        if not tokens and self.tokens:
            raise SettingsError(
                f"serve.tokens: {self._file}: no tokens; expected at least one, since without any everybody may call: "
                "for that, restart the service",
                field="serve.tokens",
            )
        changed = tokens != self.tokens
        self.tokens = tokens
        return changed


def record_tokens(events: EventLog, tokens: Sequence[Token]) -> bool:
    """Write the event that says how the tokens differ from those that the trail knows; False where they do not.

    Every worker and replica asks at its start and after a change, and one of them writes.
    """
    held = {f"{token.name} {token_key(token.sha256)}": _facts(token) for token in tokens}
    digest = hashlib.sha256(canonical_json(held).encode()).hexdigest()
    if _told(events) == held:
        return False
    with events.writing() as connection:
        told = _told(events)  # again: nobody else appends now
        if told == held:
            return False
        names = sorted(told.keys() | held.keys())
        changed = {name: [told.get(name), held.get(name)] for name in names if told.get(name) != held.get(name)}
        events.append(TokensChanged(digest=digest, changed=changed), actor=ACTOR, connection=connection)
    return True


def _told(events: EventLog) -> dict[str, Any]:
    """The tokens as the trail knows them."""
    told: dict[str, Any] = {}
    cursor = None
    while True:
        page, cursor = events.page(kind=TokensChanged.kind, limit=1000, cursor=cursor)
        for event in page:
            for name, (_, after) in event.data["changed"].items():
                told[name] = after
        if cursor is None:
            return {name: facts for name, facts in told.items() if facts is not None}


def _facts(token: Token) -> dict[str, Any]:
    facts: dict[str, Any] = {"roles": sorted(set(token.roles))}
    if token.expires_at is not None:
        facts["expires_at"] = token.expires_at.isoformat()
    return facts


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    """What changes when a file is written to, replaced, or put behind a link; None where there is none."""
    if path is None:
        return None
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
