"""Whether the source, or the code and settings of training, are others than the last run's."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from record.errors import DataError
from record.log_lines import log_line
from record.settings import Settings
from retrain.data.origin import code_digest, source_digest, source_stamp

# A database counts its rows for it.
DATABASE_SECONDS = 3600.0


class ChangeWatch:
    """Works the digests out, and again only where something says that they may be others. For one thread."""

    def __init__(self, settings: Settings, stopwatch: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._stopwatch = stopwatch
        self._code: str | None = None
        self._stamp: Any = None
        self._source: str | None = None
        self._looked = float("-inf")

    def origin(self) -> dict[str, str | None]:
        """The digests by name; None for a source that cannot be read just now, which is no change."""
        if self._code is None:
            self._code = code_digest(self._settings)
        return {"source": self._source_digest(), "code": self._code}

    def _source_digest(self) -> str | None:
        try:
            stamp = source_stamp(self._settings)
            now = self._stopwatch()
            if stamp is None and now - self._looked < DATABASE_SECONDS:
                return self._source
            if stamp is None or stamp != self._stamp:
                self._source, self._stamp, self._looked = source_digest(self._settings), stamp, now
        except (DataError, OSError) as error:
            log_line("source not looked at", reason=str(error)[:200])
            return None
        return self._source


def changes(now: Mapping[str, str | None], *known: Mapping[str, Any]) -> tuple[str, ...]:
    """Which of the digests none of the `known` ones has: what no run has been made or asked for from.

    Nothing where nothing is known: a run of before digests were written may have been made from the same.
    """
    found = []
    for name, digest in now.items():
        before = {held[name] for held in known if held.get(name) is not None}
        if digest is not None and before and digest not in before:
            found.append(name)
    return tuple(found)
