"""What leaves the log but is still learned from: matured requests with their labels, as Parquet files."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from logging import WARNING
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from record.clock import from_micros, to_micros
from record.db.database import Database
from record.db.tables import archive_parts
from record.db.upsert import insert
from record.errors import DataError
from record.log_lines import log_line
from record.logged import LoggedRow, MaturedRow
from record.ownership import make_folder
from record.versions.artifact import sync_folder, write_synced

FOLDER = "archive"
PART = re.compile(r"requests-(\d{20})-(\d{20})-(\d+)\.parquet", re.ASCII)


@dataclass(frozen=True, slots=True)
class ArchivedRow:
    """A request and every label that came for it, in their order: (received at, JSON scalar). Its id is forgotten."""

    row: LoggedRow
    labels: tuple[tuple[datetime, str], ...]

    def as_of(self, moment: datetime) -> MaturedRow:
        """With the latest label that had come by then."""
        came = [(at, label) for at, label in self.labels if at <= moment]
        at, label = came[-1] if came else (None, None)
        row = self.row
        return MaturedRow(
            row.seq, row.xid, "", row.requested_at, row.model_version, row.record, row.prediction, row.probabilities,
            row.marks, label, at,
        )  # fmt: skip


class LogArchive:
    """A folder of parts, each the labelled requests of a stretch of time. One writer (the watcher), any readers.

    The record holds each part's digest: a changed part is refused, one that the record does not know is not read.
    """

    def __init__(self, root: Path, database: Database) -> None:
        self._root = root / FOLDER
        self._database = database

    def keep(self, rows: Sequence[ArchivedRow]) -> None:
        """Brings the rows to disk as one part, oldest first. The same rows again replace their part."""
        if not rows:
            return
        import pyarrow as pa
        import pyarrow.parquet

        make_folder(self._root)
        first, last = to_micros(rows[0].row.requested_at), to_micros(rows[-1].row.requested_at)
        path = self._root / f"requests-{first:020d}-{last:020d}-{rows[0].row.seq}.parquet"
        part = path.with_suffix(".part")
        content = io.BytesIO()
        pyarrow.parquet.write_table(pa.Table.from_pylist([_to_json(row) for row in rows]), content, compression="zstd")
        write_synced(part, content.getvalue())
        with self._database.write() as connection:
            _know(connection, path.name, content.getvalue())
        os.replace(part, path)
        sync_folder(self._root)

    def problems(self, *, hashes: bool) -> Iterator[str]:
        """Parts that the record knows and that are gone or, with `hashes`, changed: a sentence each.

        A part whose writer was killed before it was in its place is there under its unfinished name.
        """
        for name, digest in sorted(self._digests().items()):
            path = self._root / name
            if not path.exists():
                if not path.with_suffix(".part").exists():
                    yield f"the archive's {name} was written, and is gone: training has fewer rows"
            elif hashes:
                with path.open("rb") as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
                if found != digest:
                    yield f"the archive's {name} is not what was written: sha256 is {found}, {digest} then"

    def adopt(self, connection: sa.Connection) -> None:
        """Takes the parts that are there for what they should be: once, when the record learns to keep digests."""
        for path in self._parts(None):
            _know(connection, path.name, path.read_bytes())

    def read(self, as_of: datetime, *, since: datetime | None = None, newest: int | None = None) -> list[MaturedRow]:
        """Labelled requests in request order, each with the latest label that had come by `as_of`.

        Parts that end before `since` are not opened, nor older ones once `newest` rows are there. Raises DataError
        where a part cannot be read, or is not what was written.
        """
        found: dict[int, ArchivedRow] = {}
        parts = self._parts(since)
        digests = self._digests() if parts else {}
        for path in reversed(parts):
            if path.name not in digests:
                log_line("archive part is unknown to the record, and not read", level=WARNING, part=path.name)
                continue
            for row in _rows(path, digests[path.name]):
                held = found.get(row.row.seq)
                # A request that got another label while it left stands in two parts; the later one has all labels.
                if held is None or len(row.labels) > len(held.labels):
                    found[row.row.seq] = row
            if newest is not None and len(found) >= newest:
                break
        rows = [row.as_of(as_of) for row in found.values()]
        chosen = [row for row in rows if row.label is not None and (since is None or row.requested_at >= since)]
        return sorted(chosen, key=lambda row: (row.requested_at, row.seq))

    def _digests(self) -> dict[str, str]:
        with self._database.read() as connection:
            return {row.part: row.sha256 for row in connection.execute(sa.select(archive_parts))}

    def _parts(self, since: datetime | None) -> list[Path]:
        """By the time of their first request."""
        if not self._root.is_dir():
            return []
        held = [(match, path) for path in self._root.iterdir() if (match := PART.fullmatch(path.name))]
        earliest = to_micros(since) if since is not None else None
        return sorted(path for match, path in held if earliest is None or int(match[2]) >= earliest)


def _to_json(archived: ArchivedRow) -> dict[str, Any]:
    row = archived.row
    return {
        "seq": row.seq,
        "requested_at": to_micros(row.requested_at),
        "model_version": row.model_version,
        "record": row.record,
        "prediction": row.prediction,
        "probabilities": row.probabilities,
        "labels": json.dumps([[to_micros(at), label] for at, label in archived.labels]),
    }


def _know(connection: sa.Connection, part: str, content: bytes) -> None:
    digest = hashlib.sha256(content).hexdigest()
    row = insert(connection, archive_parts).values(part=part, sha256=digest)
    connection.execute(row.on_conflict_do_update(index_elements=["part"], set_={"sha256": digest}))


def _rows(path: Path, digest: str) -> Iterator[ArchivedRow]:
    import pyarrow.parquet

    try:
        content = path.read_bytes()
        found = hashlib.sha256(content).hexdigest()
        if found != digest:
            raise DataError(f"the archive's {path.name} is not what was written: sha256 is {found}, {digest} then")
        held = pyarrow.parquet.read_table(io.BytesIO(content)).to_pylist()
    except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors
        raise DataError(f"the archive's {path.name} cannot be read: {str(error)[:200]}") from error
    for row in held:
        labels = tuple((from_micros(at), label) for at, label in json.loads(row["labels"]))
        logged = LoggedRow(
            row["seq"], 0, "", from_micros(row["requested_at"]), row["model_version"], row["record"],
            row["prediction"], row["probabilities"], None,
        )  # fmt: skip
        yield ArchivedRow(logged, labels)
