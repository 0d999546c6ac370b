"""Drift, data, quality and model reports: HTML files in the artifacts' folder, each with a row that says what it is."""

from __future__ import annotations

import os
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import sqlalchemy as sa

from record.clock import Clock
from record.db.database import Database
from record.db.tables import reports
from record.errors import NotFound
from record.ownership import make_folder
from record.versions.artifact import sync_folder, write_synced

ReportKind = Literal["drift", "data", "quality", "model"]
LARGEST_SWEEP = 1000  # reports forgotten at one time
REPORT = re.compile(r"[a-z]{1,20}-[0-9]{8}-[0-9a-f]{16}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Report:
    report: str
    kind: ReportKind
    created_at: datetime
    model_version: str | None
    path: str  # relative to the artifacts' folder


class Reports:
    """The way to the reports. Safe to share between threads."""

    def __init__(self, database: Database, root: Path, clock: Clock) -> None:
        self._database = database
        self._root = root
        self._clock = clock

    def new_name(self, kind: ReportKind) -> str:
        """A name that no report has, for one that is added later."""
        return f"{kind}-{self._clock.now():%Y%m%d}-{secrets.token_hex(8)}"

    def add(self, kind: ReportKind, html: str | Path, model_version: str | None = None, name: str | None = None) -> str:
        """Keeps the report, and gives the name it is found by. A file beneath the root stays where it is."""
        at = self._clock.now()
        name = name or self.new_name(kind)
        path = self._kept(html) if isinstance(html, Path) else None
        if path is None:
            path = f"reports/{name}.html"
            self._write(path, html.read_bytes() if isinstance(html, Path) else html.encode("utf-8", "replace"))
        row = {"report": name, "kind": kind, "created_at": at, "model_version": model_version, "path": path}
        with self._database.write() as connection:
            connection.execute(sa.insert(reports).values(row))
        return name

    def get(self, report: str) -> Report:
        """NotFound where there is none."""
        if REPORT.fullmatch(report):
            with self._database.read() as connection:
                row = connection.execute(sa.select(reports).where(reports.c.report == report)).one_or_none()
            if row is not None:
                return Report(**row._mapping)
        raise NotFound(f"no report {report[:80]!r}", field="report")

    def of_model(self, version: str) -> str | None:
        """The name of the version's own report; None where it has none."""
        query = (
            sa.select(reports.c.report)
            .where(reports.c.kind == "model", reports.c.model_version == version)
            .order_by(reports.c.created_at.desc())
            .limit(1)
        )
        with self._database.read() as connection:
            return connection.execute(query).scalar()

    def path(self, report: str) -> Path:
        """The report's file; NotFound where there is none. A version's own is read through `Registry.open`."""
        path = (self._root / self.get(report).path).resolve()
        if path.is_relative_to(self._root.resolve()) and path.is_file():
            return path
        raise NotFound(f"no report {report[:80]!r}", field="report")

    def recent(self, kind: ReportKind | None = None, limit: int = 20) -> list[Report]:
        """The latest reports, newest first."""
        query = sa.select(reports).order_by(reports.c.created_at.desc(), reports.c.report.desc()).limit(limit)
        with self._database.read() as connection:
            rows = connection.execute(query if kind is None else query.where(reports.c.kind == kind))
            return [Report(**row._mapping) for row in rows]

    def forget(self, kind: ReportKind, keep: int) -> int:
        """Removes all but the newest `keep` of a kind, files first; how many. Files outside reports/ stay."""
        query = sa.select(reports).where(reports.c.kind == kind)
        query = query.order_by(reports.c.created_at.desc(), reports.c.report.desc()).offset(keep).limit(LARGEST_SWEEP)
        with self._database.read() as connection:
            old = [Report(**row._mapping) for row in connection.execute(query)]
        for report in old:
            if report.path.startswith("reports/"):
                (self._root / report.path).unlink(missing_ok=True)
        if old:
            with self._database.write() as connection:
                gone = reports.c.report.in_([report.report for report in old])
                connection.execute(sa.delete(reports).where(gone))
        return len(old)

    def _kept(self, html: Path) -> str | None:
        resolved, root = html.resolve(), self._root.resolve()
        return resolved.relative_to(root).as_posix() if resolved.is_relative_to(root) else None

    def _write(self, path: str, content: bytes) -> None:
        target = self._root / path
        make_folder(target.parent)
        unfinished = target.with_suffix(".part")
        write_synced(unfinished, content)
        os.rename(unfinished, target)
        sync_folder(target.parent)
