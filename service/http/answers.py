"""The body of every JSON answer, defined once: `/docs.json` describes them, and the client returns them.

Times are RFC 3339 texts in UTC. Objects may get further keys in later versions.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from msgspec import Meta

Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Count = Annotated[int, Meta(ge=0)]
Cursor = Annotated[str, Meta(description="Sent as `cursor`, it gives the next page")]
# JSON has no infinities, so that they are said in words.
Number = float | Literal["Infinity", "-Infinity"]
RunState = Literal["requested", "running", "succeeded", "failed", "declined"]
Role = Literal["challenger", "champion", "previous", "rejected", "rolled_back"]
ErrorCode = Literal[
    "forbidden",
    "id_conflict",
    "internal",
    "invalid_json",
    "invalid_label",
    "invalid_record",
    "log_unavailable",
    "method_not_allowed",
    "no_champion",
    "not_found",
    "overloaded",
    "quota_exceeded",
    "role_conflict",
    "run_active",
    "too_large",
    "unauthorized",
    "unknown_version",
    "unsupported_media_type",
]
ClassName = Annotated[Any, Meta(extra_json_schema={"$ref": "#/components/schemas/Class"})]


class Prediction(TypedDict):
    """The answer to one record."""

    id: str
    prediction: ClassName
    probabilities: NotRequired[Annotated[dict[str, float], Meta(description="By class; a regression has none")]]
    model_version: NotRequired[Annotated[str, Meta(description="Who gave an answer that is repeated from the log")]]


class Answers(TypedDict):
    """The answers to the records of one request, in their order."""

    model_version: str
    predictions: list[Prediction]


class LabelsTaken(TypedDict):
    """What became of the labels of one request."""

    accepted: Count
    duplicates: Count
    conflicts: Annotated[list[str], Meta(description='Ids that have another label; `"correct": true` replaces it')]
    unknown: Annotated[list[str], Meta(description="Ids that were never answered")]
    exhausted: NotRequired[Annotated[list[str], Meta(description="Ids that have had as many corrections as they may")]]


class AlertsTaken(TypedDict):
    """What became of the alerts of one notification."""

    accepted: Count
    duplicates: Count
    ignored: Count


class RunRequested(TypedDict):
    """The run that was asked for; `GET /runs/{run_id}` follows it."""

    run_id: str


class RoleMove(TypedDict):
    """Who is champion after a move of the role, and who was before."""

    champion: str | None
    previous: str | None
    generation: Annotated[int, Meta(ge=0, description="Moves by one with every move of the role")]
    since: Time | None


class StandingChange(TypedDict):
    """Whether a version may be champion from now on."""

    version: str
    standing: Literal["eligible", "rejected"]


class ChampionStatus(TypedDict):
    """The version that answers, and since when."""

    version: str
    since: Time
    report: Annotated[str | None, Meta(description="The version's report: GET /reports/{report}")]


class Lead(TypedDict):
    """The challenger's mean advantage in loss for each request, with its confidence sequence."""

    low: Number | None
    mean: Number | None
    high: Number | None


class ApprovalStatus(TypedDict):
    """The approval that a won bout waits for; `approve` and `refuse` are commands."""

    requested_at: Time
    expires_at: Time | None
    on_expiry: str | None
    approvers: list[str]
    approve: str
    refuse: str


class BoutStatus(TypedDict):
    """One open bout: where its evidence stands, and what is missing."""

    version: str
    bout: str
    state: Literal["testing", "awaiting_approval", "probation", "decided", "voided"]
    pairs: Count
    e_value: Number | None
    e_max: Number | None
    needed: Number | None
    lead: Lead
    labels_to_go: Number | None
    expected_at: Time | None
    deadline_at: Time
    missing: list[str]
    approval: ApprovalStatus | None


class DriftStatus(TypedDict):
    """What the last drift check found."""

    checked_at: Time | None
    drifted: list[str]


class QualityStatus(TypedDict):
    """The champion's metrics by name; `side_by_side` has both of a bout on the same requests."""

    observed: dict[str, Number | None]
    estimated: dict[str, Number | None]
    estimated_by: Literal["answers", "last_labels"]
    side_by_side: dict[str, dict[str, dict[str, Number | None]]]
    as_of: Time | None


class RunStatus(TypedDict):
    """The run that is under way, else the last one."""

    run_id: str
    state: RunState
    trigger: str
    started_at: Time | None
    progress: dict[str, Any] | None
    version: str | None
    outcome: dict[str, Any] | None


class LogStatus(TypedDict):
    """How many predictions and labels the log holds; `pending` wait for their label."""

    predictions: Count
    labels: Count
    pending: Count


class DiskStatus(TypedDict):
    """What is free on this host, and the days that the log has room for; null where they never end."""

    free_bytes: dict[str, Count]
    log_bytes: Count
    log_growth_bytes_per_day: Count
    days_left: Number | None


class WatcherStatus(TypedDict):
    """Who leads the watcher's work; `leader` is null while nobody does."""

    leader: str | None
    heartbeat_at: Time | None
    settled_until: Time | None
    next_due_at: Time | None


class SettingsStatus(TypedDict):
    """The digest of the settings that the service runs with; a file that has changed since counts from a restart on."""

    digest: str
    file_changed: bool


class Status(TypedDict):
    """What is going on. What is not there yet is null or empty."""

    champion: ChampionStatus | None
    challengers: list[BoutStatus]
    drift: DriftStatus
    quality: QualityStatus
    run: RunStatus | None
    log: LogStatus
    disk: DiskStatus
    watcher: WatcherStatus
    settings: SettingsStatus
    chain_head: str


class RoleChange(TypedDict):
    """One change of a version's role; `event` is the audit trail's `seq`."""

    at: Time
    role: Role
    actor: str
    reason: str | None
    bout: str | None
    event: int


class Model(TypedDict):
    """One version with its card and the history of its role, the latest hundred changes."""

    version: str
    number: int
    registered_at: Time
    run_id: str | None
    parent: str | None
    digest: str
    card: dict[str, Any]
    read_until_seq: int
    data_until: Time | None
    standing: Literal["eligible", "rejected", "rolled_back"]
    standing_reason: str | None
    role: Role | None
    history: list[RoleChange]


class Models(TypedDict):
    """A page of versions, oldest first."""

    models: list[Model]
    next: Cursor | None


class Run(TypedDict):
    """One retrain run."""

    run_id: str
    state: RunState
    trigger: str
    actor: str
    reason: str
    requested_at: Time
    as_of: Annotated[Time | None, Meta(description="How the record stood that it reads")]
    started_at: Time | None
    finished_at: Time | None
    seconds: Annotated[float | None, Meta(description="How long it ran")]
    progress: dict[str, Any] | None
    version: str | None
    outcome: dict[str, Any] | None


class Runs(TypedDict):
    """A page of runs, newest first."""

    runs: list[Run]
    next: Cursor | None


class Event(TypedDict):
    """One event of the audit trail; `data` are the facts of its kind."""

    seq: int
    at: Time
    kind: str
    actor: str
    model_version: str | None
    data: dict[str, Any]
    digest: str


class Events(TypedDict):
    """A page of events, oldest first."""

    events: list[Event]
    next: Cursor | None


class ExplainedModel(TypedDict):
    """The version that answered."""

    family: str | None
    registered_at: Time
    run_id: str | None
    rows: Any
    data_until: Time | None


class ExplainedChampion(TypedDict):
    """Why that version had the role; `until` is null where it has it still."""

    how: Literal["first_version", "bout", "operator", "rollback", "unknown"]
    since: Time | None
    until: Time | None
    event: Event | None
    bout: Annotated[dict[str, Any] | None, Meta(description="What decided it, with its evidence then")]
    history: list[RoleChange]


class ExplainedChallenger(TypedDict):
    """What one challenger said to the same record."""

    version: str
    bout: str
    kind: str
    challenger: str
    champion: str
    state: str
    outcome: str | None
    said: Literal["scored", "failed", "sampled_out"]
    prediction: Any
    probabilities: dict[str, float] | None


class ExplainedLabelChange(TypedDict):
    """One label that came for the id."""

    label: ClassName
    received_at: Time
    correction: bool


class ExplainedLabel(TypedDict):
    """The label that holds now, and a page of those that came, oldest first."""

    label: ClassName
    received_at: Time
    history: list[ExplainedLabelChange]
    next: Cursor | None


class Contribution(TypedDict):
    """What one feature's value added to the answer."""

    feature: str
    value: Any
    contribution: float
    error: float | None


# "class" is a key: a name that only this form can have.
Attribution = TypedDict(
    "Attribution",
    {
        "method": str,
        "of": Literal["probability", "value"],
        "class": Annotated[Any, Meta(description="Whose probability; null for a value")],
        "base": Annotated[float, Meta(description="The mean answer over the background")],
        "prediction": Annotated[float, Meta(description="`base` plus all contributions")],
        "reproduced": Annotated[bool, Meta(description="Whether the model says again what was logged")],
        "contributions": Annotated[list[Contribution], Meta(description="The largest first")],
        "background_rows": Annotated[int, Meta(ge=1)],
        "exact": bool,
        "complete": Annotated[bool, Meta(description="false where the time was over before all was asked")],
    },
)


class Explanation(TypedDict):
    """One answered prediction, and what moved it."""

    id: str
    requested_at: Time
    model_version: str
    record: Annotated[dict[str, Any], Meta(description="As logged: redacted columns are null")]
    redacted: list[str]
    marks: Annotated[dict[str, str] | None, Meta(description="Columns whose value training never saw")]
    prediction: Any
    probabilities: dict[str, float] | None
    model: ExplainedModel
    champion: ExplainedChampion
    challengers: list[ExplainedChallenger]
    label: ExplainedLabel | None
    attribution: Attribution | None


class Description(TypedDict):
    """The service's name, and where to go on."""

    service: Literal["ringside"]
    links: dict[str, str]


class Live(TypedDict):
    """The process lives."""

    live: Literal[True]


class Ready(TypedDict):
    """A champion is loaded."""

    ready: Literal[True]
    model_version: str


class ErrorDetail(TypedDict):
    """One of several faults of a request."""

    field: str | None
    message: str


Details = Annotated[
    list[ErrorDetail], Meta(max_length=20, description="All faults, at most twenty, where there are several")
]


class ErrorBody(TypedDict):
    """What is wrong, which value, and what was expected."""

    code: ErrorCode
    message: str
    field: str | None
    details: NotRequired[
        Annotated[
            list[ErrorDetail], Meta(description="Where there are several faults: the first twenty", max_length=20)
        ]
    ]


class Error(TypedDict):
    """A refusal. `field` and `message` are those of its first fault."""

    error: ErrorBody


class ProtocolError(TypedDict):
    """A refusal as the Open Inference Protocol has it, with this service's code and field beside it."""

    error: str
    code: ErrorCode
    field: str | None
    details: NotRequired[Details]


class ProtocolServer(TypedDict):
    """The server's metadata."""

    name: str
    version: str
    extensions: list[str]


class ProtocolLive(TypedDict):
    """The process lives."""

    live: bool


class ProtocolReady(TypedDict):
    """A champion is loaded."""

    ready: bool


class ProtocolModelReady(TypedDict):
    """The model answers."""

    name: str
    ready: bool
    model_version: str


class ProtocolTensor(TypedDict):
    """One tensor that the model takes or gives."""

    name: str
    datatype: str
    shape: list[int]
    parameters: NotRequired[dict[str, Any]]


class ProtocolModel(TypedDict):
    """The model's metadata."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[ProtocolTensor]
    outputs: list[ProtocolTensor]


class OpenApi(TypedDict):
    """This document."""

    openapi: str
    info: dict[str, Any]
    servers: list[dict[str, Any]]
    tags: list[dict[str, Any]]
    paths: dict[str, Any]
    components: dict[str, Any]


# The answer of each route that says yes, by method and template.
ANSWERS: dict[tuple[str, str], Any] = {
    ("POST", "/predict"): Answers,
    ("POST", "/labels"): LabelsTaken,
    ("POST", "/alerts"): AlertsTaken,
    ("POST", "/retrain"): RunRequested,
    ("GET", "/status"): Status,
    ("GET", "/models"): Models,
    ("GET", "/models/{version}"): Model,
    ("POST", "/models/{version}/promote"): RoleMove,
    ("POST", "/models/{version}/reject"): StandingChange,
    ("POST", "/models/{version}/unbar"): StandingChange,
    ("POST", "/rollback"): RoleMove,
    ("GET", "/runs"): Runs,
    ("GET", "/runs/{run_id}"): Run,
    ("GET", "/events"): Events,
    ("GET", "/explain"): Explanation,
    ("GET", "/v2"): ProtocolServer,
    ("GET", "/v2/health/live"): ProtocolLive,
    ("GET", "/v2/health/ready"): ProtocolReady,
    ("GET", "/v2/models/{name}"): ProtocolModel,
    ("GET", "/v2/models/{name}/versions/{version}"): ProtocolModel,
    ("GET", "/v2/models/{name}/ready"): ProtocolModelReady,
    ("GET", "/v2/models/{name}/versions/{version}/ready"): ProtocolModelReady,
    ("GET", "/"): Description,
    ("OPTIONS", "/"): Description,
    ("GET", "/livez"): Live,
    ("GET", "/readyz"): Ready,
    ("GET", "/docs.json"): OpenApi,
}
