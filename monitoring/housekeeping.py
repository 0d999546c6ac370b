"""What keeps the record small and honest: retention, old pages, and the audit trail's digests worked out anew."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from record.clock import machine_now
from record.log_lines import log_line
from record.metric_families import RECORD_INTACT
from record.record import Record
from record.settings import Settings
from record.trail_audit import audit_trail, note_head

CHAIN_VALID = "ringside_audit_chain_valid"
CHECK_SECONDS = 60.0  # for SQLite's check of its file; a larger one is checked where it is read
KEPT_REQUESTS = timedelta(days=90)  # decided ones; the audit trail keeps what was asked and decided
KEPT_PAGES = 50  # of Evidently's, 4 MB each; as many of the data's
KEPT_QUALITY_PAGES = 400  # a year of daily checks, 60 KB each


def keep_house(record: Record, settings: Settings, as_of: datetime) -> None:
    """Forgets what is older than the settings want kept, and says whether the audit trail is whole.

    By the machine's hours, not by the record's: nothing waits for it, and a year that is replayed in minutes needs
    it as rarely as any other minutes.
    """
    if settings.log.retention is not None:
        forgotten = record.log.forget(as_of - settings.log.retention, record.archive if settings.log.archive else None)
        if forgotten:
            log_line("requests forgotten", requests=forgotten, before=as_of - settings.log.retention)
    record.requests.forget_decided(as_of - KEPT_REQUESTS)
    keyed = record.log.key_digests()
    if keyed:
        log_line("digests keyed", digests=keyed)
    record.reports.forget("drift", KEPT_PAGES)
    record.reports.forget("data", KEPT_PAGES)
    record.reports.forget("quality", KEPT_QUALITY_PAGES)
    fault = record.database.integrity_fault(CHECK_SECONDS)
    if fault is not None:
        log_line("record damaged", level=logging.CRITICAL, reason=fault)
    record.samples.put([(RECORD_INTACT, {}, float(fault is None))], as_of)
    anchor_file = settings.audit.anchor_file
    report = audit_trail(
        record.database, record.events, record.artifacts, anchor_file=anchor_file, archive=record.archive
    )
    if report.valid:
        # Whoever keeps these lines can show that nothing was cut off, or written anew, behind them.
        log_line("audit trail is whole", events=report.events, head=report.head)
        if anchor_file is not None:
            note_head(anchor_file, machine_now().isoformat(), report.events, report.head)
    else:
        log_line("audit trail is broken", level=logging.ERROR, broken_at=report.broken_at, problems=report.problems)
    record.samples.put([(CHAIN_VALID, {}, float(report.valid))], as_of)
