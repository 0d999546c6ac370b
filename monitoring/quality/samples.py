"""A quality check as gauges."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime

from monitoring.quality.page import QualityFindings
from record.samples import Samples

Values = list[tuple[Mapping[str, str], float]]


def show_quality(samples: Samples, found: QualityFindings, as_of: datetime) -> None:
    """Replaces what the check before has said."""
    values: Values = []
    bounds: Values = []
    told = [(role, "observed", report.metrics) for role, report in found.reports.items()]
    for role, kind, metrics in [*told, ("champion", "estimated", found.estimated)]:
        for name, metric in metrics.items():
            labels = {"role": role, "metric": name, "kind": kind}
            values.append((labels, metric.value))
            bounds += [({**labels, "bound": "low"}, metric.low), ({**labels, "bound": "high"}, metric.high)]
    champion = found.reports["champion"]
    # Nothing is due yet where nothing is mature, as behind a promotion: no coverage, rather than none of it.
    coverage: Values = [({}, champion.coverage)] if champion.mature else []
    values += [({"role": "champion", "metric": "coverage", "kind": "observed"}, share) for _, share in coverage]
    samples.replace("ringside_quality", _finite(values), as_of)
    samples.replace("ringside_quality_bound", _finite(bounds), as_of)
    declined: Values = [({"kind": one.basis}, float(one.declined)) for one in found.decisions]
    samples.replace("ringside_quality_declined", declined, as_of)
    slices: Values = [
        ({"slice": one.name, "metric": name}, metric.value)
        for one in found.slices
        for name, metric in one.metrics.items()
    ]
    samples.replace("ringside_quality_slice", _finite(slices), as_of)
    delays: Values = [({"quantile": name}, value) for name, value in found.delays.quantiles.items()]
    samples.replace("ringside_label_delay_seconds", delays, as_of)
    samples.replace("ringside_label_coverage", coverage, as_of)
    errors = [
        (of, found.track_record.error("loss", last_labels=of == "last_labels")) for of in ("answers", "last_labels")
    ]
    missed: Values = [({"of": of}, error) for of, error in errors if error is not None]
    samples.replace("ringside_quality_estimate_error", missed, as_of)
    samples.put(
        [
            ("ringside_quality_estimated_by_last_labels", {}, float(found.track_record.last_labels_tell_as_much)),
            ("ringside_quality_gap_evidence", {}, found.gap),
            ("ringside_requests_set_aside", {}, float(found.set_aside)),
            ("ringside_label_delay_depends_on_outcome", {}, float(found.depends)),
        ],
        as_of,
    )


def _finite(values: Values) -> Values:
    return [(labels, value) for labels, value in values if math.isfinite(value)]
