"""The version that a worker serves, and how the worker moves to the next without a mixed or failed answer.

A request takes `Champion.current` once and uses nothing else. A new version is loaded beside it (files hashed,
session made, golden predictions checked), and then one attribute is switched.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from record.errors import RingsideError
from record.registry import Registry
from record.versions.load_deadline import LOAD_SECONDS, LoadTimeout
from record.versions.model import ServedModel

LONGEST_PAUSE_SECONDS: Final = 60.0  # between tries to load a version that could not be loaded
TIMEOUT_PAUSE_SECONDS: Final = 600.0  # and that took too long


@dataclass(frozen=True, slots=True)
class Switched:
    """A worker moved to another champion (`after` is None where the role was emptied)."""

    before: str | None
    after: str | None
    generation: int
    seconds: float


@dataclass(frozen=True, slots=True)
class LoadRefused:
    """The role names a version that this worker cannot serve; what it served before goes on."""

    version: str
    generation: int
    serving: str | None
    reason: str


class Champion:
    """The version that this process serves. `refresh` is called by one thread at a time; `current` is for all."""

    def __init__(
        self,
        registry: Registry,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        longest_text: int | None = None,
        load_seconds: float = LOAD_SECONDS,
    ) -> None:
        self.current: ServedModel | None = None
        self.generation = -1  # of the role, as last followed
        self._registry = registry
        self._monotonic = monotonic
        self._longest_text = longest_text
        self._load_seconds = load_seconds
        self._failed: tuple[int, str] | None = None
        self._pause = 1.0
        self._next_try = 0.0

    def refresh(self) -> Switched | LoadRefused | None:
        """Follows the champion's role; None where nothing moved. May take seconds: call it off the event loop.

        A version that cannot be loaded is tried again after 1, 2, 4 … 60 seconds, and reported once.
        """
        roles = self._registry.roles()
        if roles.generation == self.generation:
            return None
        if roles.champion is None:
            before, self.current, self.generation = self.current, None, roles.generation
            return None if before is None else Switched(before.version, None, roles.generation, 0.0)
        if self._failed == (roles.generation, roles.champion) and self._monotonic() < self._next_try:
            return None
        return self._follow(roles.champion, roles.generation)

    def _follow(self, version: str, generation: int) -> Switched | LoadRefused | None:
        started = self._monotonic()
        before = self.current
        try:
            registered = self._registry.version(version)
            if before is None or (before.version, before.digest) != (version, registered.digest):
                self.current = self._load(version)
        except LoadTimeout as error:  # each try costs a processor for all of that time
            return self._refused(version, generation, str(error), TIMEOUT_PAUSE_SECONDS)
        except (RingsideError, OSError) as error:
            return self._refused(version, generation, str(error))
        self.generation, self._failed, self._pause = generation, None, 1.0
        return Switched(before.version if before else None, version, generation, self._monotonic() - started)

    def _load(self, version: str) -> ServedModel:
        return ServedModel.read(
            self._registry.open(version),
            version,
            longest_text=self._longest_text,
            deadline_seconds=self._load_seconds,
        )

    def _refused(
        self, version: str, generation: int, reason: str, least_pause_seconds: float = 1.0
    ) -> LoadRefused | None:
        known = self._failed == (generation, version)
        self._failed = (generation, version)
        pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS) if known else 1.0
        self._pause = max(pause, least_pause_seconds)
        self._next_try = self._monotonic() + self._pause
        if known:
            return None
        return LoadRefused(version, generation, self.current.version if self.current else None, reason)
