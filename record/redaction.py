"""Secrets kept out of everything that is shown, logged or recorded: one redaction, by value and by shape.

By value: the passwords and tokens that the settings hold are remembered when settings are made, and masked wherever
they turn up, as they stand or percent-encoded. By shape: what follows a user's name in an address, and what
`password=` and its like name, is masked whoever wrote it. An event can never be removed, so that this errs towards
masking too much.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote, quote_plus, unquote, unquote_plus

MASK: Final = "***"
LONG_SECRET: Final = 8  # and more: no part of another word by chance
SHORTEST_SECRET: Final = 4  # shorter ones stand in too many words; their shape still gives them away

# What a name ends with that holds a secret: `sslpassword`, `db_password`, `refresh_token`; not `passenger_class`.
_NAMES: Final = (
    r"(?:[\w.-]*(?:passw(?:or)?d|passphrase|passcode)"
    r"|(?<![A-Za-z0-9])(?:[\w.-]*[_.-])?(?:pass|pwd|secret|token|api[_-]?key|access[_-]?key|account[_-]?key"
    r"|private[_-]?key|credentials?|sig|signature))"
)
_VALUE: Final = r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s&;'"]+)"""
# `password=…`, `sslpassword = '…'`, `PGPASSWORD=…`, `db_token=…`
_ASSIGNED: Final = re.compile(rf"(?i)({_NAMES}\s*=\s*){_VALUE}")
# `password: …` and `"password": …`, as configurations are quoted
_TOLD: Final = re.compile(rf"""(?i)(\b(?:passw(?:or)?d|passphrase|pwd|secret)["']?\s*:\s*){_VALUE}""")
_BEARER: Final = re.compile(r"(?i)\b((?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}")
# `scheme://user:…@host`, and the same without a scheme or without the slashes: up to the last @ of the word.
_ADDRESS: Final = re.compile(r"((?:[A-Za-z][A-Za-z0-9+.-]*://)?[^\s:/@]*:)[^\s]*@")

# An address whose parts can be told apart for certain: no @ or : but where they belong.
_PLAIN: Final = re.compile(
    r"([A-Za-z][A-Za-z0-9+._-]*)://(?:[^/?#@:\s]*(?::[^/?#@:\s]*)?@)?"
    r"((?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*)(?::[0-9]{1,5})?)(/[^?#@=&]*)?(?:[?#].*)?",
    re.DOTALL,
)

_known: frozenset[str] = frozenset()


def remember(secrets: Iterable[str]) -> None:
    """Mask these from now on, in this process."""
    global _known
    _known |= {spelled for secret in secrets for spelled in _spellings(secret) if len(spelled) >= SHORTEST_SECRET}


def redact(text: str) -> str:
    """Return the text without secrets, as far as they are known or have the shape of one."""
    text = redact_known(text)
    if "@" in text and ":" in text:
        text = _ADDRESS.sub(rf"\g<1>{MASK}@", text)
    if "=" in text:
        text = _ASSIGNED.sub(rf"\g<1>{MASK}", text)
    if ":" in text:
        text = _TOLD.sub(rf"\g<1>{MASK}", text)
    return _BEARER.sub(rf"\g<1>{MASK}", text)


def redact_known(text: str) -> str:
    """Mask only what the settings hold."""
    pattern = _known_pattern(_known)
    return text if pattern is None else pattern.sub(MASK, text)


def redact_values(value: Any) -> Any:
    """The same for every text in a JSON value; names of keys stay as they are."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {key: redact_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_values(item) for item in value]
    return value


@lru_cache(maxsize=1024)
def fingerprint(secret: str) -> str:
    """Return eight digits that tell two secrets apart, for a place where others read.

    A guess at the secret costs 50 ms and 16 MB, not the microsecond of a plain hash.
    """
    return hashlib.scrypt(secret.encode("utf-8", "surrogatepass"), salt=b"ringside", n=2**14, r=8, p=1, dklen=4).hex()


def secrets_of(address: str) -> set[str]:
    """Return what may be a secret in an address of any kind, also in one that nobody can parse."""
    found = {match[1].strip("\"'") for match in re.finditer(rf"(?i){_NAMES}\s*=\s*({_VALUE})", address)}
    scheme, slashes, rest = address.partition("://")
    before, at, _ = (rest if slashes else address).rpartition("@")
    if at:
        parts = before.split(":")
        found |= {":".join(parts[place:]) for place in range(1, len(parts))}
        found |= {piece for secret in set(found) for piece in secret.split("@")}
        if len(parts) == 1 and scheme not in ("postgresql", "postgres"):
            found.add(before)  # a token in the user's place
    return {secret for secret in found if secret}


def describe_address(address: str) -> str:
    """Return an address without whatever may be secret in it: scheme, host, port and path, where they can be told."""
    found = _PLAIN.fullmatch(address)
    return "an address that cannot be read" if found is None else f"{found[1]}://{found[2]}{found[3] or ''}"


def _spellings(secret: str) -> set[str]:
    plain = {secret, unquote(secret), unquote_plus(secret)}
    encoded = {form for each in plain for form in (quote(each, safe=""), quote(each), quote_plus(each))}
    escaped = {form[1:-1] for each in plain for form in (repr(each), json.dumps(each))}
    return plain | encoded | escaped


@lru_cache(maxsize=4)
def _known_pattern(known: frozenset[str]) -> re.Pattern[str] | None:
    """Longer ones first; where a short secret is part of a longer word, it is that word and no secret."""
    if not known:
        return None
    ordered = sorted(known, key=len, reverse=True)
    word = r"(?<![A-Za-z0-9]){}(?![A-Za-z0-9])"
    each = [re.escape(one) if len(one) >= LONG_SECRET else word.format(re.escape(one)) for one in ordered]
    return re.compile("|".join(each))
