"""A database's URL as a setting has it: read, or refused in a sentence that shows nothing of it."""

from __future__ import annotations

import warnings
from typing import Any

import sqlalchemy as sa

from record.errors import SettingsError
from record.redaction import describe_address, redact

_EXPECTED = "expected sqlite:////absolute/path.db or postgresql://user:password@host:5432/name"
_ENCODED = "a password's @, :, /, ? and # are written as %40, %3A, %2F, %3F and %23"


def parse_database_url(url: str, key: str) -> sa.URL:
    """The URL, with the driver that Ringside uses. SettingsError names the fault, and never the text of the URL."""
    try:
        parsed = sa.engine.make_url(url)
    except (sa.exc.ArgumentError, ValueError) as error:
        number = isinstance(error, ValueError)
        fault = "the port in the URL is not a number" if number else "the value is no database URL"
        raise SettingsError(f"{key}: {fault}; {_EXPECTED}; {_ENCODED}", field=key) from None
    if "@" in (parsed.host or "") or "@" in str(parsed.port or ""):
        raise SettingsError(f"{key}: the URL has two @; {_EXPECTED}; {_ENCODED}", field=key)
    if parsed.port is not None and not 0 < parsed.port < 65536:
        raise SettingsError(f"{key}: the port in the URL is not between 1 and 65535; {_EXPECTED}", field=key)
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    return parsed


def create_engine(url: sa.URL, key: str, **options: Any) -> sa.Engine:
    """SQLAlchemy's engine. SettingsError where there is no driver for such a URL."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", sa.exc.SAWarning)  # of options that the driver would pass over
            return sa.create_engine(url, **options)
    except (sa.exc.ArgumentError, sa.exc.SAWarning, ImportError, TypeError, ValueError) as error:
        named = isinstance(error, ImportError | sa.exc.NoSuchModuleError)
        fault = redact(str(error).splitlines()[0][:200]) if named else "its driver does not take such a URL"
        raise SettingsError(f"{key}: {url.drivername!r} cannot be used: {fault}; {_EXPECTED}", field=key) from None


def database_fault(error: Exception, url: str | None = None) -> SettingsError:
    """One sentence for a record's database that cannot be reached, opened or used."""
    place = "the database" if url is None else describe_address(url)
    reason = str(getattr(error, "orig", None) or error).strip()
    first = redact(reason.splitlines()[0][:300]) if reason else type(error).__name__
    return SettingsError(f"store.database: {place} cannot be used: {first}", field="store.database")
