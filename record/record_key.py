"""The record's secret: what digests of requests are keyed by, so that nobody can guess a redacted value from them.

A digest says whether an id came with the same record again, redacted columns included. Without a key, whoever has the
database could try all values of a redacted column until the digest fits. The key is kept outside the database, in one
file that all replicas share, and the record holds a value by which a process knows whether it has the right one.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b, sha256
from pathlib import Path

import sqlalchemy as sa

from record.configuration.sections import StoreSettings
from record.db.database import Database
from record.db.tables import prediction_ids, record_key
from record.db.upsert import insert
from record.errors import Conflict, SettingsError
from record.ownership import make_folder
from record.versions.artifact import sync_folder, write_synced

KEY_FILE = "record.key"
UNKEYED_BYTES = 16  # the length of digests that earlier releases stored
KEYED_BYTES = 24
SHORTEST_BYTES = 32
AT_ONCE = 1000  # digests replaced in one transaction, so that requests never wait long behind it


class RecordKey:
    """The secret as it is used."""

    def __init__(self, secret: bytes) -> None:
        self._secret = sha256(secret).digest()

    def seal(self, digest: bytes) -> bytes:
        """A request's digest, keyed."""
        return blake2b(digest, key=self._secret, digest_size=KEYED_BYTES).digest()

    def known(self, stored: bytes) -> bytes:
        """What was stored, keyed where an earlier release stored it without a key."""
        return self.seal(stored) if len(stored) == UNKEYED_BYTES else stored

    def check_value(self) -> str:
        """By which the record knows its key, and which does not tell it."""
        return hmac.new(self._secret, b"the record's key", sha256).hexdigest()


def open_key(database: Database, store: StoreSettings) -> RecordKey:
    """The key of the record, made where the record has none yet.

    Raises SettingsError where the key is missing, or is not the one that the record was opened with before.
    """
    with database.write() as connection:
        return _open_key(connection, database, store)


def replace_key(database: Database, store: StoreSettings, record_replaced: Callable[[sa.Connection], object]) -> None:
    """Give the record another key, where the first is lost: the one that is in its place, or else a new one.

    Ids that were answered before are then refused for any record until `log.id_window` is over. `record_replaced`
    writes the event, in the same transaction. For when nothing else uses the record: running services have the first.
    Raises Conflict where the record's own key is in its place.
    """
    with database.write() as connection:
        held = connection.execute(sa.select(record_key.c.check_value)).scalar()
        if held is not None and (found := _found(store)) is not None and hmac.compare_digest(held, found.check_value()):
            raise Conflict("the record's own key is in its place: nothing is lost, and nothing was changed")
        connection.execute(sa.delete(record_key))
        _open_key(connection, database, store)
        record_replaced(connection)


def _found(store: StoreSettings) -> RecordKey | None:
    """The key that is in its place; None where there is none that can be used."""
    try:
        return _read(store, store.key_file or store.artifacts / KEY_FILE, make=False)
    except SettingsError:
        return None


def _open_key(connection: sa.Connection, database: Database, store: StoreSettings) -> RecordKey:
    file = store.key_file or store.artifacts / KEY_FILE
    if database.dialect == "postgresql":  # replicas that start at once
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(1380536903)"))
    held = connection.execute(sa.select(record_key.c.check_value)).scalar()
    key = _read(store, file, make=held is None)
    if held is None:
        earlier = connection.execute(sa.select(prediction_ids.c.id).limit(1)).first() is not None
        row = {"id": 1, "check_value": key.check_value(), "unkeyed_digests": earlier}
        connection.execute(insert(connection, record_key).values(row))
    elif not hmac.compare_digest(held, key.check_value()):
        where = "RINGSIDE_STORE__KEY" if store.key is not None else str(file)
        raise SettingsError(
            f"store.key: the key in {where} is not the one that this record was opened with before; expected the "
            f"same key on every host: copy {KEY_FILE} from the artifacts of the host that works, or give it by "
            "store.key_file or RINGSIDE_STORE__KEY",
            field="store.key",
        )
    return key


def key_digests(database: Database, key: RecordKey) -> int:
    """Replaces the digests that earlier releases stored without a key, a thousand at a time; how many."""
    with database.read() as connection:
        if not connection.execute(sa.select(record_key.c.unkeyed_digests)).scalar():
            return 0
    done, after = 0, ""
    unkeyed = sa.func.length(prediction_ids.c.digest) == UNKEYED_BYTES
    while True:
        query = sa.select(prediction_ids.c.id, prediction_ids.c.digest).where(prediction_ids.c.id > after, unkeyed)
        with database.write() as connection:
            rows = connection.execute(query.order_by(prediction_ids.c.id).limit(AT_ONCE)).all()
            if not rows:
                connection.execute(sa.update(record_key).values(unkeyed_digests=False))
                return done
            changing = sa.update(prediction_ids).where(
                prediction_ids.c.id == sa.bindparam("name"), prediction_ids.c.digest == sa.bindparam("before")
            )
            changing = changing.values(digest=sa.bindparam("sealed"))
            connection.execute(
                changing, [{"name": row.id, "before": row.digest, "sealed": key.seal(row.digest)} for row in rows]
            )
        done, after = done + len(rows), rows[-1].id


def _read(store: StoreSettings, file: Path, *, make: bool) -> RecordKey:
    if store.key is not None:
        return RecordKey(_expect_long(store.key.get_secret_value().encode(), "store.key", "RINGSIDE_STORE__KEY"))
    if make and store.key_file is None and not file.exists():
        _make(file)
    try:
        secret = file.read_bytes().strip()
    except OSError as error:
        raise SettingsError(
            f"store.key_file: {file}: {error.strerror or 'cannot be read'}; expected the record's key: it was made "
            f"beside the artifacts, as {KEY_FILE}, when the record was first opened, and is the same on every host. "
            "Bring it back from there or from a backup; where it is lost: `ringside rekey`",
            field="store.key_file",
        ) from error
    return RecordKey(_expect_long(secret, "store.key_file", str(file)))


def _expect_long(secret: bytes, field: str, where: str) -> bytes:
    if len(secret) < SHORTEST_BYTES:
        raise SettingsError(
            f"{field}: the key in {where} has {len(secret)} bytes; expected at least {SHORTEST_BYTES}, as from "
            "`openssl rand -hex 32`",
            field=field,
        )
    return secret


def _make(file: Path) -> None:
    """A new key in its place, whole or not at all, for its owner's eyes only; another process's stays."""
    make_folder(file.parent)
    unfinished = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.close(descriptor)
    try:
        write_synced(unfinished, secrets.token_hex(32).encode() + b"\n")
        with suppress(FileExistsError):
            os.link(unfinished, file)
    finally:
        unfinished.unlink()
    sync_folder(file.parent)
