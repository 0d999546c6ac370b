"""Whether a share is higher in the window than in the reference: beyond chance, and by enough to matter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scipy.stats import hypergeom

from monitoring.inputs.finding import Severity

# Neighbouring requests resemble each other, and the test believes that they do not: far below any budget of false
# alarms.
ALPHA = 1e-6


@dataclass(frozen=True, slots=True)
class ShareRise:
    """Of `rows_before` and `rows_now`, so many have something: is the share higher now?"""

    count_before: int
    rows_before: int
    count_now: int
    rows_now: int

    @property
    def before(self) -> float:
        return self.count_before / self.rows_before

    @property
    def now(self) -> float:
        return self.count_now / self.rows_now

    def severity(self, bounds: tuple[float, float]) -> Severity | None:
        """By the rise and by Fisher's exact test; None where it is small or may be chance."""
        rise = self.now - self.before
        if rise < bounds[0] or self._chance() > ALPHA:
            return None
        return "error" if rise >= bounds[1] else "warning"

    def facts(self) -> dict[str, Any]:
        return {"count": self.count_now, "share": round(self.now, 6), "share_before": round(self.before, 6)}

    def _chance(self) -> float:
        together = self.count_before + self.count_now
        rows = self.rows_before + self.rows_now
        return float(hypergeom.sf(self.count_now - 1, rows, together, self.rows_now))
