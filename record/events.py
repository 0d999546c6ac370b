"""What happened, in the past tense: one frozen dataclass of facts for every kind in the audit trail.

No personal data stands in an event: names of features, versions, runs and tokens, and numbers, never a record's
values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, ClassVar, Literal, get_args

from record.canonical import plain


@dataclass(frozen=True, slots=True)
class Event:
    """A fact. `model_version` is the version that it is about, where there is one."""

    kind: ClassVar[str]
    model_version: str | None = field(default=None, kw_only=True)

    def data(self) -> dict[str, Any]:
        """The facts as JSON values, without the version, which has a column of its own."""
        return {f.name: plain(getattr(self, f.name)) for f in fields(self) if f.name != "model_version"}


@dataclass(frozen=True, slots=True)
class DriftChecked(Event):
    """`model_version` is the champion, whose reference the window was held against."""

    kind: ClassVar[str] = "drift_checked"
    as_of: datetime
    rows: int
    drifted: Sequence[str] = ()
    scores: Mapping[str, Any] = field(default_factory=dict)
    report: str | None = None
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DriftDetected(Event):
    kind: ClassVar[str] = "drift_detected"
    as_of: datetime
    rows: int
    drifted: Sequence[str]
    scores: Mapping[str, Any] = field(default_factory=dict)
    report: str | None = None
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FeedBroken(Event):
    """The data check calls requests an error: those since that time whose `column` is as `rule` says are set aside.

    `share` of the window's rows had it. `low` and `high` are what training saw, where the rule is `outside`. What
    goes on for longer than `longest_seconds` is how the data are, and counts again.
    """

    kind: ClassVar[str] = "feed_broken"
    check: str
    column: str
    rule: str
    since: datetime
    share: float
    longest_seconds: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class FeedMended(Event):
    """The data check finds the error no longer; requests after `until` count again."""

    kind: ClassVar[str] = "feed_mended"
    check: str
    column: str
    until: datetime


@dataclass(frozen=True, slots=True)
class QualityDeclined(Event):
    kind: ClassVar[str] = "quality_declined"
    as_of: datetime
    metric: str
    observed: float
    expected: float
    labels: int
    numbers: Mapping[str, Any] = field(default_factory=dict)
    report: str | None = None
    basis: Literal["observed", "estimated"] = "observed"


@dataclass(frozen=True, slots=True)
class QualityChecked(Event):
    """What a check found, and what it adds to the accumulated evidence: `state` of all of them is that evidence."""

    kind: ClassVar[str] = "quality_checked"
    as_of: datetime
    labels: int
    metrics: Mapping[str, Any] = field(default_factory=dict)
    numbers: Mapping[str, Any] = field(default_factory=dict)
    state: Mapping[str, Any] = field(default_factory=dict)
    report: str | None = None


@dataclass(frozen=True, slots=True)
class ConceptDriftDetected(Event):
    """The labels say another loss than the answers expected of themselves: what follows from the features changed."""

    kind: ClassVar[str] = "concept_drift_detected"
    as_of: datetime
    observed: float
    estimated: float
    labels: int
    numbers: Mapping[str, Any] = field(default_factory=dict)
    report: str | None = None


@dataclass(frozen=True, slots=True)
class LabelsStopped(Event):
    kind: ClassVar[str] = "labels_stopped"
    as_of: datetime
    last_label_at: datetime
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LabelsResumed(Event):
    kind: ClassVar[str] = "labels_resumed"
    as_of: datetime
    last_label_at: datetime
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NotificationSent(Event):
    """One message to one target, which a name stands for that holds no secret; `through` is how far it was told."""

    kind: ClassVar[str] = "notification_sent"
    target: str
    through: int
    told: Mapping[str, Any] = field(default_factory=dict)
    suppressed: int = 0


@dataclass(frozen=True, slots=True)
class RetrainRequested(Event):
    kind: ClassVar[str] = "retrain_requested"
    run_id: str
    trigger: str
    reason: str
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RetrainDeclined(Event):
    """Not now: `run_id` is None where no run had been asked for by name."""

    kind: ClassVar[str] = "retrain_declined"
    trigger: str
    reason: str
    run_id: str | None = None
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RetrainStarted(Event):
    kind: ClassVar[str] = "retrain_started"
    run_id: str
    trigger: str
    as_of: datetime


@dataclass(frozen=True, slots=True)
class RetrainProgressed(Event):
    """A run has come to another stage: read, search, judge, refit, package. `best` is the search's, in `metric`."""

    kind: ClassVar[str] = "retrain_progressed"
    run_id: str
    trigger: str
    stage: str
    trials: int = 0
    metric: str | None = None
    best: float | None = None


@dataclass(frozen=True, slots=True)
class RetrainResumed(Event):
    """A run whose process was killed goes on in another one; `resumes` counts this time."""

    kind: ClassVar[str] = "retrain_resumed"
    run_id: str
    trigger: str
    resumes: int
    reason: str


@dataclass(frozen=True, slots=True)
class RetrainSucceeded(Event):
    """The job worked. `model_version` is None where the gate refused its candidate; `outcome` says why."""

    kind: ClassVar[str] = "retrain_succeeded"
    run_id: str
    trigger: str
    seconds: float
    outcome: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RetrainFailed(Event):
    kind: ClassVar[str] = "retrain_failed"
    run_id: str
    trigger: str
    error: str
    seconds: float | None = None
    findings: Sequence[Mapping[str, Any]] = ()  # of the guards, where they refused the data


@dataclass(frozen=True, slots=True)
class ModelRegistered(Event):
    kind: ClassVar[str] = "model_registered"
    run_id: str | None
    parent: str | None
    digest: str
    read_until_seq: int
    data_until: datetime | None
    card: str | None = None  # SHA-256 of the card's canonical JSON
    report: str | None = None  # the name of the version's own report


@dataclass(frozen=True, slots=True)
class BoutOpened(Event):
    """`model_version` is the challenger."""

    kind: ClassVar[str] = "bout_opened"
    bout: str
    bout_kind: str
    challenger: str
    champion: str
    generation: int
    after_seq: int
    design: Mapping[str, Any]
    design_hash: str


@dataclass(frozen=True, slots=True)
class BoutDecided(Event):
    """`model_version` is the challenger."""

    kind: ClassVar[str] = "bout_decided"
    bout: str
    bout_kind: str
    challenger: str
    champion: str
    outcome: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BoutVoided(Event):
    """`model_version` is the challenger."""

    kind: ClassVar[str] = "bout_voided"
    bout: str
    bout_kind: str
    challenger: str
    champion: str
    reason: str


@dataclass(frozen=True, slots=True)
class ApprovalRequested(Event):
    """The challenger won its bout, and a person has the last word: `approve` and `refuse` are the commands to run."""

    kind: ClassVar[str] = "approval_requested"
    bout: str
    challenger: str
    champion: str
    approve: str
    refuse: str
    approvers: Sequence[str]
    expires_at: datetime | None
    on_expiry: str
    reasons: Sequence[str]


@dataclass(frozen=True, slots=True)
class ApprovalReminded(Event):
    """Nobody has said yes or no since `requested_at`."""

    kind: ClassVar[str] = "approval_reminded"
    bout: str
    challenger: str
    champion: str
    approve: str
    refuse: str
    approvers: Sequence[str]
    requested_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class ApprovalWithdrawn(Event):
    """The evidence no longer stands: there is nothing to approve now, and `reasons` say what is missing."""

    kind: ClassVar[str] = "approval_withdrawn"
    bout: str
    challenger: str
    champion: str
    requested_at: datetime
    reasons: Sequence[str]


@dataclass(frozen=True, slots=True)
class ApprovalExpired(Event):
    """Nobody said yes or no in time; `outcome` is what `promotion.on_expiry` makes of the bout."""

    kind: ClassVar[str] = "approval_expired"
    bout: str
    challenger: str
    champion: str
    requested_at: datetime
    outcome: str


@dataclass(frozen=True, slots=True)
class ModelPromoted(Event):
    """`previous` is the version that left the champion's role, None for the first champion."""

    kind: ClassVar[str] = "model_promoted"
    reason: str
    previous: str | None
    generation: int
    bout: str | None = None


@dataclass(frozen=True, slots=True)
class ModelRejected(Event):
    kind: ClassVar[str] = "model_rejected"
    reason: str
    bout: str | None = None


@dataclass(frozen=True, slots=True)
class ModelUnbarred(Event):
    """A person lifted the version's bar: `standing` is what it was barred as, `because` why.

    It was judged in bouts up to number `after_bout`, on requests up to `after_seq`; what follows begins behind both.
    """

    kind: ClassVar[str] = "model_unbarred"
    reason: str
    standing: str
    because: str | None
    after_bout: int
    after_seq: int


@dataclass(frozen=True, slots=True)
class ModelRolledBack(Event):
    """`model_version` lost the champion's role to `restored`, and is barred from it."""

    kind: ClassVar[str] = "model_rolled_back"
    reason: str
    restored: str
    generation: int
    bout: str | None = None


@dataclass(frozen=True, slots=True)
class AlertReceived(Event):
    """`action` is what its label asked for; `outcome` what becomes of it: queued, recorded.

    Alerts of one name that arrive together are one event: `count` of them, the first one's fingerprint and start.
    """

    kind: ClassVar[str] = "alert_received"
    alert: str
    status: str
    fingerprint: str
    starts_at: str
    action: str | None = None
    outcome: str = "recorded"
    count: int = 1


@dataclass(frozen=True, slots=True)
class SettingsChanged(Event):
    """`changed` holds key → [before, after], None for the default; of what may hold a secret, digits of its hash."""

    kind: ClassVar[str] = "settings_changed"
    digest: str
    changed: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SigningStarted(Event):
    """Events are signed from here on; `key` names the signing key, and does not tell it."""

    kind: ClassVar[str] = "signing_started"
    key: str


@dataclass(frozen=True, slots=True)
class TokensChanged(Event):
    """Who may call. `changed` holds "name key" → [before, after]: roles and expiry, None where there is none.

    The key tells tokens of one name apart; no hash of a token stands here.
    """

    kind: ClassVar[str] = "tokens_changed"
    digest: str
    changed: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeyReplaced(Event):
    """The record's key was lost, and it has another one: digests of earlier requests say nothing any more."""

    kind: ClassVar[str] = "key_replaced"
    reason: str


@dataclass(frozen=True, slots=True)
class AccessRefused(Event):
    """Refusals of one kind within one minute, together: a guessing client must not flood the trail."""

    kind: ClassVar[str] = "access_refused"
    reason: str
    route: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class RecordsRefused(Event):
    """Predict requests that one worker refused for a record, of a minute or more together.

    `counts` holds "column:reason" → requests; values are never told.
    """

    kind: ClassVar[str] = "records_refused"
    counts: Mapping[str, int]


KnownEvent = (
    DriftChecked
    | DriftDetected
    | QualityChecked
    | QualityDeclined
    | ConceptDriftDetected
    | FeedBroken
    | FeedMended
    | LabelsStopped
    | LabelsResumed
    | NotificationSent
    | RetrainRequested
    | RetrainDeclined
    | RetrainStarted
    | RetrainProgressed
    | RetrainResumed
    | RetrainSucceeded
    | RetrainFailed
    | ModelRegistered
    | BoutOpened
    | BoutDecided
    | BoutVoided
    | ApprovalRequested
    | ApprovalReminded
    | ApprovalWithdrawn
    | ApprovalExpired
    | ModelPromoted
    | ModelRejected
    | ModelUnbarred
    | ModelRolledBack
    | AlertReceived
    | SettingsChanged
    | SigningStarted
    | TokensChanged
    | KeyReplaced
    | AccessRefused
    | RecordsRefused
)
KINDS: tuple[str, ...] = tuple(event.kind for event in get_args(KnownEvent))
