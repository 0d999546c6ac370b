"""One answered prediction, explained from the record: the same over HTTP and on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from record.bouts.bout import Bout
from record.canonical import plain
from record.errors import ArtifactError, NotFound
from record.event_log import RecordedEvent
from record.log.labels import Page, last_label, read_labels
from record.logged import LoggedRow
from record.versions.role_history import RoleChange
from service.explain.explainer import Question

if TYPE_CHECKING:
    from record.record import Record
    from record.settings import Settings

FIRST_PAGE = Page()
Attribute = Callable[[Question], dict[str, Any]]


def explanation(
    record: Record, settings: Settings, id: str, attribute: Attribute | None, page: Page = FIRST_PAGE
) -> dict[str, Any]:
    """`GET /explain`, in JSON's types; `attribution` is null without `attribute`.

    Raises NotFound for an id that was never answered, or was forgotten.
    """
    row = record.log.find(id)
    if row is None:
        raise NotFound(
            f"no answered prediction has the id {id[:200]!r}; ids are forgotten with log.retention", field="id"
        )
    version = record.registry.version(row.model_version)
    held: dict[str, Any] = {
        "id": row.id,
        "requested_at": row.requested_at,
        "model_version": row.model_version,
        "record": json.loads(row.record),
        "redacted": list(settings.log.redact),
        "marks": None if row.marks is None else json.loads(row.marks),
        "prediction": json.loads(row.prediction),
        "probabilities": None if row.probabilities is None else json.loads(row.probabilities),
        "model": {
            "family": version.card.get("family"),
            "registered_at": version.registered_at,
            "run_id": version.run_id,
            "rows": version.card.get("rows"),
            "data_until": version.data_until,
        },
        "champion": _champion(record, row, page.limit),
        "challengers": _challengers(record, row)[-page.limit :],
        "label": _label(record, row, page),
        "attribution": None,
    }
    if attribute is not None:
        try:
            directory, digest = record.registry.sealed(row.model_version)
        except ArtifactError as error:
            raise NotFound(
                f"{error.message}; what the record says of the answer is shown with attribution=false",
                field="model_version",
            ) from error
        said = row.prediction if row.probabilities is None else row.probabilities
        question = Question(
            row.id,
            row.model_version,
            str(directory),
            digest,
            row.record,
            said,
            model_bytes=settings.serve.model_memory,
        )
        held["attribution"] = attribute(question)
    shown: dict[str, Any] = plain(held)
    return shown


def _champion(record: Record, row: LoggedRow, most: int) -> dict[str, Any]:
    """By which move the version that answered had the role, and until when.

    A worker follows a move within a moment, so that it is the version's latest move before the request, not the
    role's.
    """
    history = record.registry.history(row.model_version)
    crowned = [place for place, change in enumerate(history) if change.role == "champion"]
    before = [place for place in crowned if history[place].at <= row.requested_at]
    if not crowned:
        return {"how": "unknown", "since": None, "until": None, "event": None, "bout": None, "history": []}
    place = before[-1] if before else crowned[0]
    change = history[place]
    left = next((later.at for later in history[place + 1 :] if later.role in ("previous", "rolled_back")), None)
    event = record.events.get(change.event)
    return {
        "how": _how(event),
        "since": change.at,
        "until": left,
        "event": None if event is None else _event(event),
        "bout": _bout(record, change),
        "history": [asdict(each) for each in history[-most:]],
    }


def _how(event: RecordedEvent | None) -> str:
    """first_version | bout | operator | rollback."""
    if event is None:
        return "unknown"
    if event.kind == "model_rolled_back":
        return "rollback"
    if event.data.get("bout"):
        return "bout"
    return "first_version" if event.data.get("previous") is None else "operator"


def _event(event: RecordedEvent) -> dict[str, Any]:
    return {name: getattr(event, name) for name in ("seq", "at", "kind", "actor", "model_version", "data", "digest")}


def _bout(record: Record, change: RoleChange) -> dict[str, Any] | None:
    """The bout that the move was decided by, with the evidence as it was then: from its event, not its later state."""
    if change.bout is None:
        return None
    bout = record.bouts.get(change.bout)
    decided, _ = record.events.page(kind="bout_decided", model=bout.challenger, limit=1000)
    evidence = next((event.data["evidence"] for event in decided if event.data.get("bout") == bout.bout), None)
    return {**_named(bout), "decided_at": bout.decided_at, "design_hash": bout.design_hash, "evidence": evidence}


def _named(bout: Bout) -> dict[str, Any]:
    return {
        "bout": bout.bout,
        "kind": bout.kind,
        "challenger": bout.challenger,
        "champion": bout.champion,
        "state": bout.state,
        "outcome": bout.outcome,
    }


def _challengers(record: Record, row: LoggedRow) -> list[dict[str, Any]]:
    """What each challenger of the version that answered said to the same record; `said` is null where it did not."""
    met = [bout for bout in record.bouts.all() if bout.champion == row.model_version and bout.after_seq < row.seq]
    scores = record.bouts.said([bout.bout for bout in met], row.seq)
    return [
        {
            "version": bout.challenger,
            **_named(bout),
            "said": score.outcome,
            "prediction": None if score.prediction is None else json.loads(score.prediction),
            "probabilities": None if score.probabilities is None else json.loads(score.probabilities),
        }
        for bout in met
        if (score := scores.get(bout.bout)) is not None
    ]


def _label(record: Record, row: LoggedRow, page: Page) -> dict[str, Any] | None:
    """The label that holds now, and a page of those that came, oldest first; `next` is the following page's cursor."""
    with record.database.read() as connection:
        last = last_label(connection, row.seq)
        if last is None:
            return None
        came, following = read_labels(connection, row.seq, page)
    return {"label": last["label"], "received_at": last["received_at"], "history": came, "next": following}
