"""What can go wrong, as a caller can tell it apart.

    RingsideError
    ├── InputError          the caller sent something that cannot be used
    │   ├── InvalidJson, InvalidRecord, InvalidLabel, TooLarge, UnsupportedMedia
    ├── Conflict            the record has moved on, or says otherwise
    │   ├── IdConflict, RoleConflict, RunActive
    ├── Absent              the thing named is not there
    │   ├── UnknownVersion, NoChampion, NotFound
    ├── Refused             the caller may not
    │   ├── Unauthorized, Forbidden
    ├── Unavailable         try again later
    │   ├── Overloaded, QuotaExceeded, LogUnavailable
    ├── SettingsError       ringside.toml or the environment is wrong
    │   ├── SettingsDrift   they are not those that the running service began with
    ├── DataError           training data that cannot be used
    ├── ArtifactError       a version's files are not what was registered
    └── StaleLease          somebody else leads now; this process must stop writing

Every error words its own message: what, which value, what was expected.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

MOST_FAULTS: Final = 20  # of one request, that are told


@dataclass(frozen=True, slots=True)
class Fault:
    """One of several things that are wrong with a request."""

    field: str | None
    message: str


class RingsideError(Exception):
    """The base. `code` is the machine-readable name; `field` says where, when that can be said.

    `details` are all faults, MOST_FAULTS at most, where there are several; `field` and `message` are the first's.
    """

    code = "error"
    details: tuple[Fault, ...] = ()

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class InputError(RingsideError):
    """The caller sent something that cannot be used; sending it again will not help."""


Wrong = TypeVar("Wrong", bound=InputError)


class Faults(Generic[Wrong]):
    """Collects what is wrong with a request, so that its caller hears all of it at once."""

    def __init__(self, found: Sequence[Wrong] = ()) -> None:
        self._errors: list[Wrong] = list(found)

    def add(self, *errors: Wrong) -> None:
        self._errors += errors[: self.left]

    @property
    def left(self) -> int:
        """How many more are told."""
        return MOST_FAULTS - sum(len(error.details) or 1 for error in self._errors)

    @contextmanager
    def collect(self, kind: type[Wrong]) -> Iterator[None]:
        """Adds an error of that kind that is raised within, and goes on behind it."""
        try:
            yield
        except kind as error:
            self.add(error)

    def expect_none(self) -> None:
        """Raises the first error, with all of them as its details, where there is one."""
        if self._errors:
            raise self.error() from None

    def error(self) -> Wrong:
        """The first error, with all of them as its details where there are several."""
        first = self._errors[0]
        details = [fault for error in self._errors for fault in error.details or (Fault(error.field, error.message),)]
        first.details = tuple(details[:MOST_FAULTS]) if len(details) > 1 else ()
        return first


class InvalidJson(InputError):
    code = "invalid_json"


class InvalidRecord(InputError):
    code = "invalid_record"

    def __init__(self, message: str, *, field: str | None = None, reason: str = "type") -> None:
        super().__init__(message, field=field)
        self.reason = reason  # one of a closed set: it becomes a metric's label


class InvalidLabel(InputError):
    code = "invalid_label"


class TooLarge(InputError):
    code = "too_large"


class UnsupportedMedia(InputError):
    """The body is of a type, or in an encoding, that is not read here."""

    code = "unsupported_media_type"


class Conflict(RingsideError):
    """The record says otherwise; look again before trying again."""


class IdConflict(Conflict):
    """Ids that were answered before, for another record."""

    code = "id_conflict"

    def __init__(self, ids: Sequence[str]) -> None:
        named = ", ".join(repr(i) for i in ids[:10]) + (" and more" if len(ids) > 10 else "")
        super().__init__(
            f"{len(ids)} of the request's ids were used for other records before: {named}; "
            "nothing of this request was answered or logged",
            field="ids",
        )
        self.ids = list(ids)


class RoleConflict(Conflict):
    code = "role_conflict"


class RunActive(Conflict):
    code = "run_active"


class Absent(RingsideError):
    """The thing named is not there."""


class UnknownVersion(Absent):
    code = "unknown_version"

    def __init__(self, version: str) -> None:
        super().__init__(f"no model version {version!r}; `GET /models` lists them", field="version")


class NoChampion(Absent):
    code = "no_champion"


class NotFound(Absent):
    code = "not_found"


class Refused(RingsideError):
    """The caller may not."""


class Unauthorized(Refused):
    code = "unauthorized"


class Forbidden(Refused):
    code = "forbidden"


class Unavailable(RingsideError):
    """Nothing is wrong with what was sent: try again after `retry_after_seconds`."""

    retry_after_seconds = 1


class Overloaded(Unavailable):
    code = "overloaded"


class QuotaExceeded(Unavailable):
    """The caller's token has sent as much as it may for now."""

    code = "quota_exceeded"

    def __init__(self, message: str, *, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class LogUnavailable(Unavailable):
    code = "log_unavailable"

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason  # the database's own words, which name hosts and files: for the log, not for callers


class SettingsError(RingsideError):
    """`faults` are the sentences of a message that names several."""

    code = "invalid_settings"

    def __init__(self, message: str, *, field: str | None = None, faults: Sequence[str] = ()) -> None:
        super().__init__(message, field=field)
        self.faults = tuple(faults)


class SettingsDrift(SettingsError):
    """The file has changed since the service started, and what it said then is not known any more."""

    def __init__(self, file: object) -> None:
        super().__init__(
            f"{file} has changed since the service started; expected what the other processes run with. It waits until "
            "the service is restarted, or the file says again what it said"
        )


class DataError(RingsideError):
    """Training data that cannot be used: absent target, one class, nothing readable."""

    code = "invalid_data"


class ArtifactError(RingsideError):
    code = "invalid_artifact"


class StaleLease(RingsideError):
    code = "stale_lease"
