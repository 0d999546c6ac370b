"""Every route in one table: path, method, the weakest role that may call it, and what it does.

What is not in the table is not there. The guard in front (`service.http.front`) reads roles and templates from it, the
mounted application its endpoints, and `/docs.json` its words.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from record.db.work import check_work
from record.errors import InvalidRecord, LogUnavailable, NotFound, Overloaded, RingsideError
from record.log_lines import log_line
from service.bodies.json_body import SHORT_BYTES, parse_body
from service.bodies.long_body import BodyLimits, ListLimit, LongBody
from service.bodies.reader import expect_depth
from service.http import endpoints, inference_protocol
from service.http.alerts import MOST_ALERTS
from service.http.call import Call
from service.http.openapi import document
from service.http.replies import Reply, WrongMethod, compressed, error_reply, fault_reply
from service.http.rule import Handler, Rule
from service.metrics import OTHER

if TYPE_CHECKING:
    from service.worker import Worker

ACTOR: Final = "ringside.actor"  # keys of the scope, set by the guard
AT: Final = "ringside.at"
QUERY: Final = "ringside.query"
PREDICT: Final = "/predict"


def _docs(worker: Worker, call: Call) -> Reply:
    return Reply(200, json.dumps(document(worker, RULES), ensure_ascii=False).encode())


_REASON_BYTES: Final = 65_536  # of the body that holds an operator's reason, which has a thousand characters
_BODY: Final = (400, 413, 415)
_NAMED: Final = "/v2/models/{name}"
_PROTOCOL: Final = (
    Rule("GET", "/v2", "predict", inference_protocol.server, "Open Inference Protocol: the server"),
    Rule("GET", "/v2/", "predict", inference_protocol.server, "The same, as the protocol's document spells it"),
    Rule("GET", "/v2/health/live", "predict", inference_protocol.live, "Whether the process lives"),
    Rule("GET", "/v2/health/ready", "predict", inference_protocol.ready, "Whether a champion is loaded"),
    *(
        rule
        for of_version in ("", "/versions/{version}")
        for rule in (
            Rule("GET", _NAMED + of_version, "predict", inference_protocol.model, "The model's tensors", 200, (404,)),
            Rule(
                "GET",
                f"{_NAMED}{of_version}/ready",
                "predict",
                inference_protocol.model_ready,
                "Whether the model answers",
                refuses=(404,),
            ),
            Rule(
                "POST",
                f"{_NAMED}{of_version}/infer",
                "predict",
                None,
                "Answer column tensors with the champion",
                refuses=(*_BODY, 404, 409),
            ),
        )
    ),
)
RULES: Final[tuple[Rule, ...]] = (
    Rule("POST", PREDICT, "predict", None, "Answer records with the champion", refuses=(*_BODY, 409, 422)),
    Rule("POST", "/labels", "label", endpoints.labels, "Send what turned out to be true", refuses=(*_BODY, 422)),
    Rule("POST", "/alerts", "alert", endpoints.alerts, "Alertmanager's webhook, version 4", 202, (*_BODY, 422)),
    Rule(
        "POST",
        "/retrain",
        "operate",
        endpoints.retrain,
        "Ask for a retrain run",
        202,
        (*_BODY, 409, 422),
        most_bytes=_REASON_BYTES,
    ),
    Rule("GET", "/status", "read", endpoints.show_status, "What is going on"),
    Rule(
        "GET",
        "/models",
        "read",
        endpoints.models,
        "Every version with its card and role history",
        refuses=(422,),
        query=("limit", "cursor"),
    ),
    Rule("GET", "/models/{version}", "read", endpoints.model, "One version", refuses=(404,)),
    Rule(
        "POST",
        "/models/{version}/promote",
        "operate",
        endpoints.promote,
        "Make a version champion",
        refuses=(*_BODY, 404, 409, 422),
        most_bytes=_REASON_BYTES,
    ),
    Rule(
        "POST",
        "/models/{version}/reject",
        "operate",
        endpoints.reject,
        "Bar a version",
        refuses=(*_BODY, 404, 409, 422),
        most_bytes=_REASON_BYTES,
    ),
    Rule(
        "POST",
        "/models/{version}/unbar",
        "operate",
        endpoints.unbar,
        "Lift a version's bar",
        refuses=(*_BODY, 404, 409, 422),
        most_bytes=_REASON_BYTES,
    ),
    Rule(
        "POST",
        "/rollback",
        "operate",
        endpoints.rollback,
        "Give the role back to the previous champion",
        refuses=(*_BODY, 409, 422),
        most_bytes=_REASON_BYTES,
    ),
    Rule("GET", "/runs", "read", endpoints.runs, "Retrain runs, newest first", query=("limit", "cursor")),
    Rule("GET", "/runs/{run_id}", "read", endpoints.run, "One retrain run", refuses=(404,)),
    Rule(
        "GET",
        "/events",
        "read",
        endpoints.events,
        "The audit trail, oldest first",
        refuses=(422,),
        query=("kind*", "model", "actor", "since", "until", "q", "limit", "cursor"),
    ),
    Rule(
        "GET",
        "/explain",
        "read",
        endpoints.explain,
        "One answered prediction: record, champion, challengers, label, and what moved it",
        refuses=(404, 422),
        threads=1,
        most_waiting=4,
        query=("id", "attribution", "limit", "cursor"),
    ),
    Rule("GET", "/reports/{id}", "read", endpoints.report, "A drift or model report, HTML", refuses=(404,)),
    *_PROTOCOL,
    Rule("GET", "/", None, endpoints.describe, "What this service is", urgent=True),
    Rule("OPTIONS", "/", None, endpoints.describe, "The same, for health checks that ask so", urgent=True),
    Rule("GET", "/livez", None, endpoints.livez, "Whether the process lives", urgent=True),
    Rule("GET", "/readyz", None, endpoints.readyz, "Whether a champion is loaded", urgent=True),
    # Threads of its own, so that a scrape tells of requests that have taken all the others.
    Rule("GET", "/metrics", "read", endpoints.metrics, "Prometheus's scrape", urgent=True, threads=2, most_waiting=8),
    Rule("GET", "/docs.json", "read", _docs, "This service as OpenAPI 3.1"),
)
_EXACT: Final[Mapping[tuple[str, str], Rule]] = {
    (rule.method, rule.path): rule for rule in RULES if "{" not in rule.path
}


def find_rule(scope: Mapping[str, Any]) -> Rule | RingsideError:
    """The rule for a request; NotFound or WrongMethod where there is none."""
    method = "GET" if scope["method"] == "HEAD" else scope["method"]
    exact = _EXACT.get((method, scope["path"]))
    if exact is not None:
        return exact
    if "\n" in scope["path"]:  # which the mount behind would not match, and answer in its own words
        return NotFound("no route has a line break in its path", field="path")
    matched = [(rule, rule.matches(scope)) for rule in RULES]
    full = next((rule for rule, match in matched if match is Match.FULL), None)
    if full is not None:
        return full
    allowed = sorted({rule.method for rule, match in matched if match is Match.PARTIAL})
    path = str(scope["path"])[:100]
    return WrongMethod(scope["method"], path, allowed) if allowed else NotFound(f"no route {path!r}", field="path")


def route_label(rule: Rule | RingsideError) -> str:
    """What a request is called in events and log lines: a template of the table, else "other"."""
    return rule.path if isinstance(rule, Rule) else OTHER


def metric_label(rule: Rule | RingsideError, status: int) -> str:
    """The label by which a request is counted.

    Few, because every one has a series for each status and bucket: callers that are refused or send too much, and
    bodies that are no JSON, count as "other", and the Open Inference Protocol's routes, of which only one is hot,
    share two.
    """
    if not isinstance(rule, Rule) or rule.path == "/" or status in (401, 403, 415, 429):
        return OTHER
    if not rule.path.startswith("/v2"):
        return rule.path
    return "/v2/models/{name}/infer" if rule.path.endswith("/infer") else "/v2"


def application(worker: Worker) -> Starlette:
    """The routes that the guard passes on, as an application to mount."""
    return Starlette(
        routes=[
            Route(rule.path, _endpoint(worker, rule, rule.handler), methods=[rule.method], include_in_schema=False)
            for rule in RULES
            if rule.handler is not None
        ]
    )


def _endpoint(worker: Worker, rule: Rule, handler: Handler) -> Callable[[Request], Any]:
    threads = None if rule.threads is None else CapacityLimiter(rule.threads)

    async def endpoint(request: Request) -> Response:
        body = await request.body() if request.method == "POST" else None
        if threads is not None and threads.statistics().tasks_waiting >= rule.most_waiting:
            return _response(error_reply(Overloaded(f"{rule.path} has as much to do as it may; try again soon")))
        reply = await to_thread.run_sync(answer, worker, handler, request, body, limiter=threads)
        return _response(reply)

    return endpoint


def _response(reply: Reply) -> Response:
    response = Response(reply.body, reply.status)
    response.raw_headers = [*reply.headers, (b"content-length", str(len(reply.body)).encode())]
    return response


def _parse(worker: Worker, body: bytes) -> Any:
    """The body's value, for what is read as a whole; refused before it exists where it holds more than it may."""
    if len(body) <= SHORT_BYTES:
        value = parse_body(body)
        expect_depth(value)
        return value
    serve = worker.settings.serve
    lists = {"labels": ListLimit(serve.max_batch, "serve.max_batch"), "alerts": MOST_ALERTS}
    return LongBody(body, BodyLimits(lists, serve.max_text)).value()


def answer(worker: Worker, handler: Handler, request: Request, body: bytes | None) -> Reply:
    """The handler's reply, or the reply to what it raised. The one place where slow routes' faults end."""
    try:
        check_work()  # it may have waited for a thread
        value = None
        if body is not None:
            value = _parse(worker, body)
        call = Call(
            actor=request.scope[ACTOR],
            body=value,
            path=request.path_params,
            query=request.scope[QUERY],
            at=request.scope.get(AT),
        )
        return compressed(handler(worker, call), request.headers.get("accept-encoding"))
    except RingsideError as error:
        return error_reply(error, request.url.path)
    except sa.exc.DataError:  # PostgreSQL's texts have no NUL, its numbers 64 bits
        return error_reply(InvalidRecord("the request has a text or number that no record can hold"), request.url.path)
    except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
        log_line("record unavailable", level=40, route=request.url.path, reason=str(error))
        gone = LogUnavailable("the record cannot be reached; try again in a moment")
        return error_reply(gone, request.url.path)
    except Exception:  # noqa: BLE001 - a fault in one request must not end the worker, and its text is not for callers
        log_line("request failed", level=40, exc_info=True, route=request.url.path)
        return fault_reply(request.url.path)
