"""What each route but the hot one does, as plain functions in threads: a call in, a reply out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from prometheus_client import CONTENT_TYPE_LATEST

from record.bouts.approval import expect_approver
from record.canonical import plain
from record.contract.decoder import Decoder
from record.contract.preview import preview
from record.disk import watched_folders
from record.errors import (
    ArtifactError,
    Faults,
    InvalidLabel,
    InvalidRecord,
    LogUnavailable,
    NoChampion,
    NotFound,
    UnknownVersion,
)
from record.event_log import cursor_number, expect_filters
from record.log.labels import Page
from record.logged import LabelGiven
from record.versions.model_version import ModelVersion
from record.versions.role_history import RoleChange
from service.bodies.long_body import ListLimit
from service.bodies.reader import expect_keys, expect_reason
from service.explain.explainer import explain_apart
from service.explain.explanation import explanation
from service.http.alerts import read_alerts, take_alerts
from service.http.call import Call
from service.http.replies import Reply, json_reply, page_reply
from service.http.scrape import scrape
from service.predict import LONGEST_ID
from service.request_time import read_time
from service.status import status

if TYPE_CHECKING:
    from record.record import Record
    from service.worker import Worker

REPORT_FILE = "report.html"

MOST_CHANGES = 100  # of a version's role, the latest, in its history
# A report runs its own inline scripts and nothing else: no request leaves it, and as a sandboxed page of no origin
# it has no part in this site.
REPORT_POLICY = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; worker-src blob:; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'"
)


def labels(worker: Worker, call: Call) -> Reply:
    expect_keys(call.body, required=("labels",))
    given = call.body["labels"]
    if not isinstance(given, list):
        raise InvalidLabel('labels: expected a list of {"id": …, "label": …}', field="labels")
    ListLimit(worker.settings.serve.max_batch, "serve.max_batch").expect("labels", len(given))
    worker.quotas.charge_rows(call.actor, len(given))
    decoder = _decoder(worker) if given else None
    outcome = worker.record.log.add_labels(_read_labels(given, decoder), call.at)
    told: dict[str, Any] = {
        "accepted": outcome.accepted,
        "duplicates": outcome.duplicates,
        "conflicts": list(outcome.conflicts),
        "unknown": list(outcome.unknown),
    }
    if outcome.exhausted:
        told["exhausted"] = list(outcome.exhausted)
    worker.metrics.labels(
        {
            "accepted": outcome.accepted,
            "duplicate": outcome.duplicates,
            "conflict": len(outcome.conflicts),
            "unknown": len(outcome.unknown),
        }
    )
    return json_reply(200, told)


def _decoder(worker: Worker) -> Decoder:
    """Labels are read by the champion's schema, else by the settings'."""
    model = worker.champion.current
    if model is not None:
        return model.decoder
    problem = worker.settings.problem_schema()
    if problem is None:
        raise NoChampion("no champion is loaded, and [columns] does not say what labels are; train a model first")
    return Decoder(problem)


def _read_labels(given: list[Any], decoder: Decoder | None) -> list[LabelGiven]:
    """The labels; InvalidLabel tells of all that cannot be used."""
    read: list[LabelGiven] = []
    faults = Faults[InvalidLabel]()
    for place, held in enumerate(given):
        try:
            read.append(_label(place, held, decoder))
        except InvalidLabel as error:
            faults.add(error)
            if faults.left <= 0:
                break
    faults.expect_none()
    return read


def _label(place: int, held: Any, decoder: Decoder | None) -> LabelGiven:
    where = f"labels[{place}]"
    if not isinstance(held, dict) or not {"id", "label"} <= set(held) <= {"id", "label", "correct"}:
        raise InvalidLabel(f'{where}: expected {{"id": …, "label": …}} and optionally "correct": true', field=where)
    id, correct, text = held["id"], held.get("correct", False), ""
    faults = Faults[InvalidLabel]()
    if not isinstance(id, str) or not 1 <= len(id) <= LONGEST_ID:
        message = f"{where}.id: {preview(id)} is no id; expected a string of 1 to {LONGEST_ID} characters"
        faults.add(InvalidLabel(message, field=f"{where}.id"))
    if not isinstance(correct, bool):
        message = f"{where}.correct: {preview(correct)}; expected true or false"
        faults.add(InvalidLabel(message, field=f"{where}.correct"))
    assert decoder is not None
    try:
        text = decoder.label_json(held["label"])
    except InvalidLabel as error:
        faults.add(InvalidLabel(f"{where}: {error.message}", field=f"{where}.label"))
    faults.expect_none()
    return LabelGiven(id, text, correct)


def alerts(worker: Worker, call: Call) -> Reply:
    read = read_alerts(call.body, worker.times)
    worker.quotas.charge_rows(call.actor, len(read))
    taken = take_alerts(worker.record.requests, read, call.actor)
    return json_reply(202, asdict(taken))


def retrain(worker: Worker, call: Call) -> Reply:
    expect_keys(call.body, required=("reason",))
    run = worker.record.runs.request("operator", call.actor, expect_reason(call.body))
    return json_reply(202, {"run_id": run.run_id})


def promote(worker: Worker, call: Call) -> Reply:
    expect_keys(call.body, required=("reason",))
    reason = expect_reason(call.body)
    expect_approver(worker.settings.promotion.approvers, call.actor)
    roles = worker.record.registry.promote(call.path["version"], actor=call.actor, reason=reason)
    return json_reply(200, plain(asdict(roles)))


def reject(worker: Worker, call: Call) -> Reply:
    expect_keys(call.body, required=("reason",))
    version = call.path["version"]
    worker.record.registry.reject(version, actor=call.actor, reason=expect_reason(call.body))
    return json_reply(200, {"version": version, "standing": "rejected"})


def unbar(worker: Worker, call: Call) -> Reply:
    expect_keys(call.body, required=("reason",))
    version = call.path["version"]
    worker.record.registry.unbar(version, actor=call.actor, reason=expect_reason(call.body))
    return json_reply(200, {"version": version, "standing": "eligible"})


def rollback(worker: Worker, call: Call) -> Reply:
    expect_keys(call.body, required=("reason",))
    roles = worker.record.registry.rollback(actor=call.actor, reason=expect_reason(call.body))
    return json_reply(200, plain(asdict(roles)))


def show_status(worker: Worker, call: Call) -> Reply:
    return json_reply(200, status(worker.record, worker.settings))


def models(worker: Worker, call: Call) -> Reply:
    registry, page = worker.record.registry, _page(call.query, Faults())
    histories, champion = registry.histories(), registry.roles().champion
    found = registry.versions(after=page.after, limit=page.limit + 1)
    shown = ((_model(held, histories.get(held.version, []), champion), str(held.number)) for held in found)
    return page_reply("models", shown, page.limit)


def model(worker: Worker, call: Call) -> Reply:
    registry = worker.record.registry
    held = registry.version(call.path["version"])
    return json_reply(200, _model(held, registry.history(held.version), registry.roles().champion))


def _model(held: ModelVersion, history: Sequence[RoleChange], champion: str | None) -> dict[str, Any]:
    role = "champion" if held.version == champion else history[-1].role if history else None
    history = history[-MOST_CHANGES:]
    shown: dict[str, Any] = plain({**_fields(held), "role": role, "history": [_fields(change) for change in history]})
    return shown


def _fields(held: ModelVersion | RoleChange) -> dict[str, Any]:
    return {name: getattr(held, name) for name in held.__dataclass_fields__}


def runs(worker: Worker, call: Call) -> Reply:
    limit, cursor = _limit(call.query.get("limit", "100")), call.query.get("cursor")
    try:
        found = worker.record.runs.recent(limit + 1, before=cursor)
    except NotFound as error:
        raise InvalidRecord(f"cursor: {cursor!r:.60}; expected the `next` of a page", field="cursor") from error
    return page_reply("runs", ((run.to_json(), run.run_id) for run in found), limit)


def run(worker: Worker, call: Call) -> Reply:
    return json_reply(200, worker.record.runs.get(call.path["run_id"]).to_json())


def events(worker: Worker, call: Call) -> Reply:
    query = call.query
    faults, times, limit = Faults[InvalidRecord](), dict[str, datetime](), 100
    kinds = query["kind"].split(",") if "kind" in query else None
    for name in ("since", "until"):
        if name in query:
            with faults.collect(InvalidRecord):
                times[name] = read_time(query[name], name)
    with faults.collect(InvalidRecord):
        limit = _limit(query.get("limit", "100"))
    with faults.collect(InvalidRecord):
        expect_filters(kinds or (), query.get("q"), query.get("cursor"))
    faults.expect_none()
    found, following = worker.record.events.page(
        kind=kinds,
        model=query.get("model"),
        actor=query.get("actor"),
        since=times.get("since"),
        until=times.get("until"),
        q=query.get("q"),
        limit=limit,
        cursor=query.get("cursor"),
    )
    keys = ("seq", "at", "kind", "actor", "model_version", "data", "digest")
    shown = ((plain({key: getattr(event, key) for key in keys}), str(event.seq)) for event in found)
    return page_reply("events", shown, len(found), following)


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= 1000):
        raise InvalidRecord(f"limit: {text[:40]!r}; expected a number from 1 to 1000", field="limit")
    return int(text)


def _page(query: Mapping[str, str], faults: Faults[InvalidRecord]) -> Page:
    """The page that a query asks for; raises what `faults` has collected, with what is wrong with it."""
    limit, after = 100, 0
    with faults.collect(InvalidRecord):
        limit = _limit(query.get("limit", "100"))
    with faults.collect(InvalidRecord):
        after = cursor_number(query.get("cursor"))
    faults.expect_none()
    return Page(limit, after)


def explain(worker: Worker, call: Call) -> Reply:
    faults = Faults[InvalidRecord]()
    if not call.query.get("id"):
        faults.add(InvalidRecord("id: missing; expected the id of an answered prediction", field="id"))
    wanted = call.query.get("attribution", "true")
    if wanted not in ("true", "false"):
        faults.add(InvalidRecord(f"attribution: {wanted[:40]!r}; expected true or false", field="attribution"))
    page = _page(call.query, faults)
    attribute = explain_apart if wanted == "true" else None
    return json_reply(200, explanation(worker.record, worker.settings, call.query["id"], attribute, page))


def _report(record: Record, name: str) -> bytes:
    """A version's report is one of its files, and verified like them."""
    found = record.reports.get(name)
    version = found.model_version
    if version is None or found.path != f"{version}/{REPORT_FILE}":
        return record.reports.path(name).read_bytes()
    try:
        return record.registry.open(version).read(REPORT_FILE)
    except (ArtifactError, UnknownVersion, OSError) as error:
        raise NotFound(f"the report of {version} is not there as it was registered: {error}", field="report") from error


def report(worker: Worker, call: Call) -> Reply:
    content = _report(worker.record, call.path["id"])
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-security-policy", REPORT_POLICY.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cache-control", b"private, no-store"),
    ]
    return Reply(200, content, headers)


def metrics(worker: Worker, call: Call) -> Reply:
    content = scrape(worker.metrics, worker.record.database, watched_folders(worker.settings))
    return Reply(200, content, [(b"content-type", CONTENT_TYPE_LATEST.encode())])


def describe(worker: Worker, call: Call) -> Reply:
    """The service's name and where to go on, for health checks and whoever opens its address."""
    links = {"live": "/livez", "ready": "/readyz", "predict": "/predict", "status": "/status", "routes": "/docs.json"}
    reply = json_reply(200, {"service": "ringside", "links": links})
    reply.headers.append((b"allow", b"GET, HEAD, OPTIONS"))
    return reply


def livez(worker: Worker, call: Call) -> Reply:
    return json_reply(200, {"live": True})


def readyz(worker: Worker, call: Call) -> Reply:
    model = worker.champion.current
    if model is None:
        raise NoChampion("not ready: no champion is loaded")
    if worker.record_watch.fault is not None:
        raise LogUnavailable("not ready: the record is damaged or was replaced", reason=worker.record_watch.fault)
    return json_reply(200, {"ready": True, "model_version": model.version})
