"""The data's own checks beside drift: samples at every look, facts and a page when a decision falls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import sqrt
from statistics import NormalDist
from typing import Any

from monitoring.inputs.contract_check import inspect_window
from monitoring.inputs.domain_classifier import DomainReport, tell_apart
from monitoring.inputs.finding import DataQualityReport
from monitoring.inputs.page import render_page
from monitoring.windows import Window
from record.clock import MICROSECOND
from record.contract.refused_records import refused_by_column
from record.contract.schema import Schema
from record.events import DriftChecked, RecordsRefused
from record.record import Record

FINDINGS = "ringside_data_quality_findings"
AREA = "ringside_domain_classifier_auc"
SEEN_AT = 0.999  # a mean this improbable without a shift is seen …
SEEN_IN = 0.9  # … in so many cases
KEPT_FOR = timedelta(days=30)  # a page older than this shows an older window


def smallest_shift(reference_rows: int, rows: int) -> float:
    """The shift of a mean, in standard deviations, that samples of these sizes show at SEEN_AT in SEEN_IN of cases."""
    if not reference_rows or not rows:
        return float("inf")
    quantiles = NormalDist().inv_cdf((1 + SEEN_AT) / 2) + NormalDist().inv_cdf(SEEN_IN)
    return quantiles * sqrt(1 / reference_rows + 1 / rows)


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What a decision's event says of the data; `report` is the page's name, where there is anything to show."""

    report: str | None
    numbers: Mapping[str, Any]

    def lines(self, as_of: datetime, current: Window) -> list[str]:
        """What a page of the same window says at its top."""
        age = as_of - (current.since or as_of)
        domain = self.numbers["domain_classifier"]
        hours = f"{age.total_seconds() / 3600:,.1f}"
        lines = [
            f"{current.rows:,} requests, the oldest {hours} hours old at {as_of:%Y-%m-%d %H:%M} UTC; "
            f"{self.numbers['sampled']:,} of them looked at. The smallest shift of a number that so many rows show in "
            f"nine cases of ten: {self.numbers['smallest_shift']:.3f} standard deviations."
        ]
        if domain is not None and domain["drifted"]:
            lines.append(f"A model tells the window from the reference: area {domain['auc']:.3f}.")
        return lines


class DataCheck:
    """Writes samples and pages; what belongs into an event is handed back."""

    def __init__(self, record: Record, hidden: tuple[str, ...] = (), units: Mapping[str, str] | None = None) -> None:
        self._record = record
        self._units = units
        self._hidden = hidden

    def look(self, reference: Window, current: Window, schema: Schema, as_of: datetime) -> DataQualityReport:
        """What is wrong with the window; each check's counts become samples, also where they are 0."""
        refused = self._refused(current.since, as_of)
        report = inspect_window(reference, current, schema, refused=refused, hidden=self._hidden)
        counts = [
            ({"check": check, "severity": severity}, float(count))
            for (check, severity), count in report.columns_by_check().items()
        ]
        self._record.samples.replace(FINDINGS, counts, as_of)
        return report

    def _refused(self, since: datetime | None, as_of: datetime) -> dict[str, int]:
        """Requests by column that the service refused within the window, as its workers told of them."""
        told, cursor = [], None
        while since is not None:
            page, cursor = self._record.events.page(
                kind=RecordsRefused.kind, since=since, until=as_of + MICROSECOND, limit=1000, cursor=cursor
            )
            told += [event.data["counts"] for event in page]
            if cursor is None:
                break
        return refused_by_column(told)

    def decide(
        self,
        report: DataQualityReport,
        reference: Window,
        current: Window,
        schema: Schema,
        version: str,
        as_of: datetime,
    ) -> DataFacts:
        """The facts, with the domain classifier's; a page where there are findings that the last one does not show."""
        domain = tell_apart(reference, current, [*schema.number_names, *schema.category_names])
        if domain is not None:
            self._record.samples.put([(AREA, {}, domain.auc)], as_of)
        shift = smallest_shift(len(reference), len(current))
        page = self._page(report, domain, reference, current, schema.problem.target, version, as_of, shift)
        numbers = {
            "window_rows": current.rows,
            "sampled": len(current),
            "smallest_shift": round(shift, 4),
            "data_quality": {"findings": report.facts(), "errors": len(report.errors), "report": page},
            "domain_classifier": None if domain is None else domain.facts(),
        }
        return DataFacts(page, numbers)

    def _page(
        self,
        report: DataQualityReport,
        domain: DomainReport | None,
        reference: Window,
        current: Window,
        target: str,
        version: str,
        as_of: datetime,
        shift: float,
    ) -> str | None:
        found = {f"{finding.check}:{finding.column}" for finding in report.findings}
        if domain is not None and domain.drifted:
            found.add("domain_classifier")
        if not found:
            return None
        last = self._last_shown(version, as_of)
        if last is not None and found <= last[1]:
            return last[0]
        html = render_page(
            report,
            domain,
            reference,
            current,
            target=target,
            version=version,
            as_of=as_of,
            smallest_shift=shift,
            units=self._units,
        )
        return self._record.reports.add("data", html, version)

    def _last_shown(self, version: str, as_of: datetime) -> tuple[str, set[str]] | None:
        """The last page that an event names, and what it shows: what the first event that named it had found."""
        found, _ = self._record.events.page(
            kind=DriftChecked.kind, model=version, since=as_of - KEPT_FOR, until=as_of + MICROSECOND, limit=1000
        )
        shown: dict[str, set[str]] = {}
        last = None
        for event in found:
            numbers = event.data["numbers"]
            held = numbers.get("data_quality") or {}
            page = held.get("report")
            if page is None:
                continue
            last = page
            if page not in shown:
                shown[page] = {f"{one['check']}:{one['column']}" for one in held["findings"]}
                if (numbers.get("domain_classifier") or {}).get("drifted"):
                    shown[page].add("domain_classifier")
        return None if last is None else (last, shown[last])
