"""ringside.Client and ringside.AsyncClient: typed answers, and retries that nothing is answered twice by."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import ringside
from record.record import open_record
from ringside import messages as client_messages
from tests.record.models import answer, record_of, register_model
from tests.service.serving import SECRETS, LiveService, live_service, tokens, wait_ready, write_config

RECORDS = [record_of(100.0 * n, "AA", f"note {n}") for n in range(5)]
Handler = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(autouse=True)
def no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_messages, "FIRST_PAUSE_SECONDS", 0.001)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    folder = tmp_path_factory.mktemp("live")
    listed = folder / "tokens.json"
    both = tokens()[0] | {"roles": ["predict", "label", "operate"]}
    listed.write_text(json.dumps([both]))
    settings = write_config(folder, f'tokens = "{listed}"\n[clock]\nsource = "requests"')
    record = open_record(settings)
    register_model(record, as_champion=True)
    record.close()
    with live_service(settings, folder) as service:
        wait_ready(service)
        yield service


@pytest.fixture(params=["Client", "AsyncClient"])
def client(request: pytest.FixtureRequest, live: LiveService) -> Iterator[Any]:
    """Each kind of client for the live service."""
    with opened(request.param, live.url, token=SECRETS["predictor"], batch=2) as client:
        yield client


class Called:
    """An AsyncClient whose methods are run to their end."""

    def __init__(self, runner: asyncio.Runner, client: ringside.AsyncClient) -> None:
        self._runner, self._client = runner, client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        return lambda *given, **named: self._runner.run(method(*given, **named))


@contextmanager
def opened(kind: str, url: str, **options: Any) -> Iterator[Any]:
    """A client of one kind, closed at the end; the asynchronous one is called as if it were not."""
    if kind == "Client":
        with ringside.Client(url, **options) as client:
            yield client
        return
    with asyncio.Runner() as runner:
        called = Called(runner, ringside.AsyncClient(url, **options))
        yield called
        called.close()


def test_answers_come_typed_and_in_order_over_several_batches(client: Any) -> None:
    found = client.predict(RECORDS)
    assert len({prediction.id for prediction in found}) == len(RECORDS)
    assert [prediction.probabilities["late"] for prediction in found] == pytest.approx(
        [answer(record, 0.0) for record in RECORDS], abs=1e-6
    )
    first = found[0]
    assert (first.prediction, first.model_version, first.repeated, first.logged) == ("late", "v1", False, True)


def test_an_id_asked_again_is_answered_from_the_log(client: Any) -> None:
    ids = [f"{type(client).__name__}-{n}" for n in range(len(RECORDS))]
    first, again = client.predict(RECORDS, ids), client.predict(RECORDS, ids)
    assert [prediction.id for prediction in again] == ids
    assert all(prediction.repeated for prediction in again)
    assert [prediction.probabilities for prediction in again] == [prediction.probabilities for prediction in first]


def test_labels_are_told_by_id_and_counted_over_batches(client: Any) -> None:
    found = client.predict(RECORDS)
    told = {prediction.id: "late" for prediction in found}
    assert client.label({**told, "never": "late"}) == ringside.LabelsTaken(accepted=5, unknown=("never",))
    assert client.label(told) == ringside.LabelsTaken(duplicates=5)
    other = {found[0].id: "on time"}
    assert client.label(other) == ringside.LabelsTaken(conflicts=(found[0].id,))
    assert client.label(other, correct=True).accepted == 1


def test_status_is_the_services(client: Any) -> None:
    assert client.status()["champion"]["version"] == "v1"


@pytest.mark.parametrize("kind", ["Client", "AsyncClient"])
def test_an_answer_is_explained_by_its_id(live: LiveService, kind: str) -> None:
    """With patience: on a crowded machine an explanation gives way to everything."""
    with opened(kind, live.url, token=SECRETS["predictor"], patience=200.0) as client:
        one = client.predict_one(RECORDS[1], f"what & why, {kind}?")
        told = client.explain(one.id)
        assert (told["id"], told["prediction"], told["model_version"]) == (one.id, one.prediction, one.model_version)
        moved = sum(each["contribution"] for each in told["attribution"]["contributions"])
        assert one.probabilities["late"] == pytest.approx(told["attribution"]["base"] + moved)
        with pytest.raises(ringside.RequestRefused, match="not_found"):
            client.explain("never-asked")


def test_what_is_refused_says_so_at_once(client: Any) -> None:
    with pytest.raises(ringside.RequestRefused, match=r"422 invalid_record: records\[0\].distance: missing") as caught:
        client.predict_one({"carrier": "AA", "note": None})
    assert (caught.value.status, caught.value.code) == (422, "invalid_record")
    assert caught.value.field == "records[0].distance"


def test_a_request_may_have_its_own_time(client: Any, live: LiveService) -> None:
    at = datetime(2024, 5, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    made = client.predict_one(RECORDS[0], at=at)
    record = open_record(live.settings)
    try:
        row = record.log.find(made.id)
        assert row is not None
        assert row.requested_at == at
    finally:
        record.close()
    with pytest.raises(ValueError, match="no time zone"):
        client.predict_one(RECORDS[0], at=datetime(2024, 5, 1))  # noqa: DTZ001


def test_frames_and_arrays_may_be_sent_as_they_are(client: Any) -> None:
    frame = pd.DataFrame({"distance": [500.0, math.nan], "carrier": ["AA", "UA"], "note": [None, None]})
    found = client.predict(frame.to_dict("records"))
    expected = [answer(record_of(500.0, "AA"), 0.0), answer(record_of(None, "UA"), 0.0)]
    assert [prediction.probabilities["late"] for prediction in found] == pytest.approx(expected, abs=1e-6)
    one = client.predict_one({"distance": np.int64(500), "carrier": np.str_("AA"), "note": np.datetime64("NaT")})
    assert one.probabilities["late"] == pytest.approx(expected[0], abs=1e-6)


def test_a_data_frame_is_sent_as_it_is(client: Any) -> None:
    """Of pandas and Arrow, with a series or an array for ids; what is missing is missing."""
    frame = pd.DataFrame({"distance": [500.0, math.nan], "carrier": ["AA", "UA"], "note": [None, pd.NA]})
    expected = [answer(record_of(500.0, "AA"), 0.0), answer(record_of(None, "UA"), 0.0)]
    for place, records in enumerate((frame, pa.Table.from_pandas(frame), frame.convert_dtypes())):
        ids = [f"{type(client).__name__}-frame-{place}-{n}" for n in range(2)]
        for given in (pd.Series(ids), np.array(ids)):
            found = client.predict(records, given)
            assert [prediction.id for prediction in found] == ids
            assert [prediction.probabilities["late"] for prediction in found] == pytest.approx(expected, abs=1e-6)
        assert client.label(pd.Series(["late", "on time"], index=ids)).accepted == 2
    by_row = client.predict([row for _, row in frame.iterrows()])
    assert [prediction.probabilities["late"] for prediction in by_row] == pytest.approx(expected, abs=1e-6)


def test_an_operator_works_from_python(live: LiveService) -> None:
    """Both clients: versions, runs, events, and the moves of the role, one after the other."""
    record = open_record(live.settings)
    names = [register_model(record, bias=bias).version for bias in (1.0, 2.0)]
    record.close()
    for kind, version in zip(("Client", "AsyncClient"), names, strict=True):
        with opened(kind, live.url, token=SECRETS["predictor"]) as client:
            asked = client.retrain(f"asked by {kind}") if kind == "Client" else client.runs(limit=1)[0]
            assert client.run(asked["run_id"])["reason"] == "asked by Client"
            with pytest.raises(ringside.RequestRefused, match="409 run_active"):
                client.retrain("another")
            assert client.model(version)["standing"] == "eligible"
            assert [model["version"] for model in client.models()] == ["v1", *names]
            assert client.promote(version, "it is better")["champion"] == version
            assert client.rollback("it was not")["champion"] == "v1"
            assert client.unbar(version, "a mistake")["standing"] == "eligible"
            assert client.reject(version, "after all")["standing"] == "rejected"
            moved = client.events(kind=("model_promoted", "model_rejected"), model=version)
            assert [event["kind"] for event in moved] == ["model_promoted", "model_rejected"]
            assert client.events(since=datetime.now(UTC) + timedelta(days=1), limit=5) == []
            everything = client.events(limit=None)
            assert [event["seq"] for event in everything] == list(range(1, len(everything) + 1))
            assert client.events(limit=3) == everything[:3]
            with pytest.raises(ringside.RequestRefused, match="404"):
                client.model("v9/../../status")


def test_pages_are_followed_to_the_limit(scripted: Callable[..., Any]) -> None:
    """No more is asked for than is wanted, and no page after the last."""

    def page(first: int, count: int, following: str | None) -> httpx.Response:
        return httpx.Response(
            200, json={"runs": [{"run_id": n} for n in range(first, first + count)], "next": following}
        )

    script = Script(page(0, 2, "a"), page(2, 2, "b"), page(4, 1, None))
    assert [run["run_id"] for run in scripted(script).runs(limit=None)] == [0, 1, 2, 3, 4]
    script = Script(page(0, 2, "a"), page(2, 1, "b"))
    assert [run["run_id"] for run in scripted(script).runs(limit=3)] == [0, 1, 2]
    assert [dict(httpx.URL(url).params) for url in script.urls] == [{"limit": "3"}, {"limit": "1", "cursor": "a"}]
    with pytest.raises(ValueError, match="limit: 0; expected at least 1"):
        scripted(Script()).runs(limit=0)


def test_all_faults_of_a_refused_request_are_told(client: Any) -> None:
    with pytest.raises(ringside.RequestRefused) as caught:
        client.predict_one({"carrier": 1.5})
    refused = caught.value
    assert [fault.field for fault in refused.details] == [
        f"records[0].{name}" for name in ("distance", "carrier", "note")
    ]
    assert (refused.field, refused.message) == (refused.details[0].field, refused.details[0].message)


def told(request: httpx.Request) -> httpx.Response:
    """An answer to a predict request, made up."""
    ids = json.loads(request.content)["ids"]
    return httpx.Response(200, json={"model_version": "v1", "predictions": [{"id": i, "prediction": 1.5} for i in ids]})


def busy(status: int = 503, **headers: str) -> httpx.Response:
    return httpx.Response(
        status, headers=headers, json={"error": {"code": "overloaded", "message": "m", "field": None}}
    )


class Script:
    """A transport that answers one request after the other as told, and keeps their bodies."""

    def __init__(self, *steps: Handler | httpx.Response | Exception) -> None:
        self._steps = iter(steps)
        self.bodies: list[bytes] = []
        self.urls: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.bodies.append(request.content)
        self.urls.append(str(request.url))
        step = next(self._steps)
        if isinstance(step, Exception):
            raise step
        if isinstance(step, httpx.Response):
            return httpx.Response(step.status_code, headers=step.headers, content=step.content)
        return step(request)


@pytest.fixture(params=["Client", "AsyncClient"])
def scripted(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Makes a client whose service is a script."""
    with ExitStack() as stack:
        yield lambda script, **options: stack.enter_context(
            opened(request.param, "http://service", transport=httpx.MockTransport(script), **options)
        )


@pytest.mark.parametrize(
    "failure",
    [httpx.ConnectError("refused"), httpx.ReadTimeout("late"), httpx.RemoteProtocolError("cut"), busy(), busy(502)],
    ids=["not reached", "too late", "cut off", "503", "502"],
)
def test_what_was_not_answered_is_sent_again_with_the_same_ids(
    scripted: Callable[..., Any], failure: httpx.Response | Exception
) -> None:
    script = Script(failure, failure, told)
    made = scripted(script).predict_one({"x": 1})
    assert made.prediction == 1.5
    assert len(script.bodies) == 3
    assert len(set(script.bodies)) == 1
    assert json.loads(script.bodies[0])["ids"] == [made.id]


def test_retry_after_is_waited_for(scripted: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("ringside.client.time.sleep", slept.append)
    monkeypatch.setattr("ringside.client.asyncio.sleep", sleep)
    date = (datetime.now(UTC) + timedelta(seconds=20)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    script = Script(busy(**{"retry-after": "7"}), busy(**{"retry-after": date}), busy(**{"retry-after": "?"}), told)
    scripted(script).predict_one({"x": 1})
    assert slept[0] == 7
    assert 15 < slept[1] <= 20
    assert slept[2] < 1


def test_patience_ends(scripted: Callable[..., Any]) -> None:
    script = Script(*itertools.repeat(busy(), 1000))
    with pytest.raises(ringside.Unreachable, match=r"POST /predict: 503 overloaded: m; gave up after 0.05 s"):
        scripted(script, patience=0.05).predict_one({"x": 1})
    assert 1 < len(script.bodies) < 1000
    unreached = Script(*itertools.repeat(httpx.ConnectError("no route"), 1000))
    with pytest.raises(ringside.Unreachable, match="no route"):
        scripted(unreached, patience=0.05).label({"a": 1})


def test_other_refusals_are_not_tried_again(scripted: Callable[..., Any]) -> None:
    for status in (400, 401, 409, 413, 422, 500):
        script = Script(busy(status))
        with pytest.raises(ringside.RequestRefused, match=f"{status} overloaded"):
            scripted(script).predict_one({"x": 1})
        assert len(script.bodies) == 1


def test_a_proxys_error_page_is_told_as_it_is(scripted: Callable[..., Any]) -> None:
    with pytest.raises(ringside.RequestRefused, match="403 http_error: <html>"):
        scripted(Script(httpx.Response(403, text="<html>no</html>"))).status()


@pytest.mark.parametrize("error", ["no upstream", None, [], ["no"], {"code": "x"}, {"details": ["x"]}])
def test_a_body_that_only_looks_like_ours_is_told_as_it_is(scripted: Callable[..., Any], error: object) -> None:
    """As of a proxy, which has an `error` of its own shape."""
    with pytest.raises(ringside.RequestRefused, match="403 http_error"):
        scripted(Script(httpx.Response(403, json={"error": error}))).status()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("retrain", ("x",)),
        ("promote", ("v1", "x")),
        ("reject", ("v1", "x")),
        ("unbar", ("v1", "x")),
        ("rollback", ("x",)),
    ],
)
def test_what_moves_a_role_is_not_done_twice(
    scripted: Callable[..., Any], name: str, arguments: tuple[str, ...]
) -> None:
    """Tried again only where it was not sent, or not done; a lost answer is told."""
    done = httpx.Response(200, json={"run_id": "r"})
    script = Script(httpx.ConnectError("refused"), busy(503), done)
    assert getattr(scripted(script), name)(*arguments) == {"run_id": "r"}
    for lost in (httpx.ReadTimeout("late"), httpx.RemoteProtocolError("cut")):
        script = Script(lost)
        with pytest.raises(ringside.Unreachable):
            getattr(scripted(script), name)(*arguments)
        assert len(script.bodies) == 1
    for status in (502, 504):
        script = Script(busy(status))
        with pytest.raises(ringside.RequestRefused, match=str(status)):
            getattr(scripted(script), name)(*arguments)
        assert len(script.bodies) == 1


@pytest.mark.parametrize("kind", [ringside.Client, ringside.AsyncClient])
@pytest.mark.parametrize("url", ["127.0.0.1:3711", "localhost", "//host", "ftp://host", "http://", "host:port", ""])
def test_a_url_that_leads_nowhere_is_refused_at_once(kind: type, url: str) -> None:
    """Before a request is made; nothing is tried for half a minute."""
    with pytest.raises(ValueError, match="url: "):
        kind(url)


def test_answers_without_the_log_say_so(scripted: Callable[..., Any]) -> None:
    def unlogged(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"ringside-logged": "no"}, content=told(request).content)

    assert scripted(Script(unlogged)).predict_one({"x": 1}).logged is False


def test_nothing_asked_is_nothing_sent(scripted: Callable[..., Any]) -> None:
    script = Script()
    client = scripted(script)
    assert client.predict([]) == []
    assert client.label({}) == ringside.LabelsTaken()
    assert script.bodies == []


def test_what_cannot_be_sent_is_not(scripted: Callable[..., Any]) -> None:
    script = Script()
    with pytest.raises(ValueError, match="2 for 1 records"):
        scripted(script).predict([{"x": 1}], ["a", "b"])
    with pytest.raises(ValueError, match="expected at least 1"):
        scripted(script, batch=0)
    with pytest.raises(ValueError):
        scripted(script).predict([{"x": math.inf}])
    assert script.bodies == []


def test_a_refused_batch_ends_the_others_of_an_asynchronous_call() -> None:
    under_way = 0

    async def main() -> None:
        async def handler(request: httpx.Request) -> httpx.Response:
            nonlocal under_way
            if json.loads(request.content)["records"][0]["x"] == 0:
                return busy(422)
            under_way += 1
            try:
                await asyncio.Event().wait()
            finally:
                under_way -= 1
            raise AssertionError

        async with ringside.AsyncClient("http://service", batch=1, transport=httpx.MockTransport(handler)) as client:
            with pytest.raises(ringside.RequestRefused):
                await client.predict([{"x": x} for x in range(3)])
            await asyncio.sleep(0)

    asyncio.run(main())
    assert under_way == 0


def test_the_module_has_nothing_else_to_import() -> None:
    assert ringside.Client.__module__ == "ringside.client"
    with pytest.raises(AttributeError, match="no attribute 'Server'"):
        ringside.Server  # noqa: B018


def test_importing_the_package_changes_nothing_else() -> None:
    """Neither the path nor what is loaded, but for the package itself: an application keeps its own modules."""
    code = (
        "import sys; path, loaded = list(sys.path), set(sys.modules); import ringside; "
        "new = {name.split('.')[0] for name in set(sys.modules) - loaded} - set(sys.stdlib_module_names); "
        "print(sys.path == path, sorted(new))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.strip()
    assert loaded == "True ['ringside']"


def test_the_client_does_without_the_services_libraries() -> None:
    """An application that only asks loads neither BentoML nor ONNX nor a database."""
    code = (
        "import sys; from ringside.client import Client; "
        "print(sorted({'bentoml', 'onnxruntime', 'sqlalchemy', 'numpy', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
