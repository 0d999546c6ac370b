"""Bodies of the largest size, of every kind that costs a parser more than it costs its sender."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from service.worker import Worker
from tests.record.models import record_of, register_model
from tests.service.serving import Client, make_settings, running
from tests.waiting import wait_until

MB = 1_000_000
LENGTH = 15_900_000  # of every body: just below the default of serve.max_body_mb
# The promise is 50 ms of the loop's time. What is measured is the processor time of the whole process between two turns
# of the loop: a busy machine adds nothing to it. Three times as much, since that machine's caches are shared.
LONGEST_STALL_SECONDS = 0.150
LARGEST_MEMORY = 8 * LENGTH


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Worker, Client]]:
    made = make_settings(tmp_path_factory.mktemp("long"), {"serve": {"request_timeout": "300s", "refresh": "20ms"}})
    with running(made) as (worker, client):
        register_model(worker.record, as_champion=True)
        wait_until(lambda: worker.champion.current is not None, 60, "the champion is loaded")
        yield worker, client


def _fill(before: str, repeated: str, behind: str) -> Callable[[], bytes]:
    def make() -> bytes:
        count = (LENGTH - len(before.encode()) - len(behind.encode())) // len(repeated.encode())
        return before.encode() + repeated.encode() * count + behind.encode()

    return make


def _good_records() -> bytes:
    """Ten thousand records that are answered."""
    note = "n" * (LENGTH // 10_000 - 51)
    return json.dumps({"records": [record_of(float(n % 900), note=note) for n in range(10_000)]}).encode()


V2 = "/v2/models/flights/infer"
TENSOR = '{"inputs":[{"name":"distance","shape":[%d],"datatype":"FP64","data":['
BODIES: dict[str, tuple[str, Callable[[], bytes], int, str]] = {
    "a key": ("/predict", _fill('{"', "x", '":1}'), 400, "unknown key"),
    "a key beside the records": ("/predict", _fill('{"records":[{}],"', "x", '":1}'), 400, "unknown key"),
    "a column": ("/predict", _fill('{"records":[{"', "x", '":1}]}'), 422, "missing"),
    "a category": ("/predict", _fill('{"records":[{"distance":1,"carrier":"', "x", '"}]}'), 422, "serve.max_text"),
    "a category of emoji": ("/predict", _fill('{"records":[{"distance":1,"carrier":"', "😀", '"}]}'), 422, "max_text"),
    "a category of escapes": (
        "/predict",
        _fill('{"records":[{"distance":1,"carrier":"', "\\u0041", '"}]}'),
        422,
        "serve.max_text",
    ),
    "a category of backslashes": (
        "/predict",
        _fill('{"records":[{"distance":1,"carrier":"', "\\\\", '"}]}'),
        422,
        "serve.max_text",
    ),
    "empty records": ("/predict", _fill('{"records":[{}', ",{}", "]}"), 413, "serve.max_batch"),
    "empty lists": ("/predict", _fill('{"records":[[]', ",[]", "]}"), 413, "serve.max_batch"),
    "a list": ("/predict", _fill("[{}", ",{}", "]"), 400, "list"),
    "lists of the object": ("/predict", _fill('{"a":[]', ',"a":[]', "}"), 413, "lists"),
    "objects of the object": ("/predict", _fill('{"a":{}', ',"a":{}', "}"), 413, "values"),
    "values in a record": ("/predict", _fill('{"records":[{"a":[1', ",1", "]}]}"), 413, "values"),
    "ids": ("/predict", _fill('{"records":[{}],"ids":["a"', ',"a"', "]}"), 413, "ids"),
    "levels": ("/predict", _fill("", "[", ""), 400, "levels"),
    "levels in a record": ("/predict", _fill('{"records":[{"a":', "[", ""), 400, "levels"),
    "space": ("/predict", _fill('{"records":[', " ", "{}]}"), 413, "bytes"),
    "space before": ("/predict", _fill("", " ", '{"records":[{}]}'), 413, "bytes"),
    "digits": ("/predict", _fill('{"records":[{"distance":', "1", "}]}"), 413, "bytes"),
    "digits behind a point": ("/predict", _fill('{"records":[{"distance":0.', "0", "1}]}"), 413, "bytes"),
    "quotes": ("/predict", _fill("{", '"', "}"), 413, "bytes"),
    "commas": ("/predict", _fill('{"records":[', ",", "]}"), 413, "serve.max_batch"),
    "NUL": ("/predict", _fill("", "\0", ""), 400, "not JSON"),
    "no JSON": ("/predict", _fill("a,b,c\n", "1,2,3\n", ""), 400, "not JSON"),
    "NaN": ("/predict", _fill('{"records":[NaN', ",NaN", "]}"), 413, "serve.max_batch"),
    "never closed": ("/predict", _fill('{"records":[', '{"a":1},', ""), 400, "not one JSON object"),
    "good records": ("/predict", _good_records, 200, "predictions"),
    "labels": ("/labels", _fill('{"labels":[{}', ",{}", "]}"), 413, "serve.max_batch"),
    "a label": ("/labels", _fill('{"labels":[{"id":"a","label":"', "x", '"}]}'), 422, "class"),
    "an id": ("/labels", _fill('{"labels":[{"label":"late","id":"', "x", '"}]}'), 422, "200 characters"),
    "alerts": ("/alerts", _fill('{"alerts":[{}', ",{}", "]}"), 413, "max_alerts"),
    "an alert": ("/alerts", _fill('{"alerts":[{"labels":{"a":"', "x", '"}}]}'), 422, "startsAt"),
    "labels of an alert": ("/alerts", _fill('{"alerts":[{"labels":{"a":1', ',"a":1', "}}]}"), 413, "values"),
    "a reason": ("/retrain", _fill('{"reason":"', "x", '"}'), 413, "this route"),
    "rows of a tensor": (V2, _fill(TENSOR % 7_900_000 + "1", ",1", "]}]}"), 413, "values"),
    "tensors": (V2, _fill('{"inputs":[{}', ",{}", "]}"), 413, "inputs"),
    "a tensor's name": (
        V2,
        _fill('{"inputs":[{"name":"', "x", '","shape":[1],"datatype":"FP64","data":[1]}]}'),
        400,
        "",
    ),
}


@pytest.mark.parametrize("kind", BODIES)
def test_no_body_stops_the_loop_or_takes_more_than_eight_times_its_memory(
    service: tuple[Worker, Client], kind: str
) -> None:
    """And each is refused for what is wrong with it, in a few words, whatever it holds."""
    path, make, status, words = BODIES[kind]
    body = make()
    assert LENGTH - 100_000 < len(body) <= LENGTH
    watched = Watched(service[1])
    reply = watched.post(path, body)
    assert (reply.status_code, words in reply.text) == (status, True), reply.text[:300]
    assert status == 200 or len(reply.content) < 1_500
    assert watched.longest_stall < LONGEST_STALL_SECONDS
    assert watched.memory < LARGEST_MEMORY


def test_raw_tensors_of_more_rows_than_a_batch_are_refused_by_their_shape(service: tuple[Worker, Client]) -> None:
    """Also where their bytes say so and their shape does not."""
    for datatype, rows, status in (("UINT8", LENGTH, 413), ("BYTES", 1, 400)):
        tensor = {"name": "distance", "shape": [rows], "datatype": datatype}
        head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": LENGTH}}]}).encode()
        watched = Watched(service[1])
        reply = watched.post(V2, head + bytes(LENGTH), {"Inference-Header-Content-Length": str(len(head))})
        assert reply.status_code == status, reply.text
        assert watched.longest_stall < LONGEST_STALL_SECONDS


class Watched:
    """One request, and what the process did meanwhile."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.longest_stall = 0.0  # seconds of the process's own time between two turns of the loop
        self.memory = 0  # bytes that it held at most, beyond what it held before

    def post(self, path: str, body: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
        ticking = self._client.call(self._begin)
        before = _start_peak()
        try:
            return self._client.request("POST", path, content=body, headers=headers)
        finally:
            self.memory = _memory("VmHWM") - before
            self._client.call(lambda: self._end(ticking))

    async def _begin(self) -> asyncio.Task[None]:
        return asyncio.create_task(self._tick())

    async def _end(self, ticking: asyncio.Task[None]) -> None:
        ticking.cancel()

    async def _tick(self) -> None:
        while True:
            before = time.process_time()
            await asyncio.sleep(0.001)
            self.longest_stall = max(self.longest_stall, time.process_time() - before)


def _start_peak() -> int:
    """Begins a new peak of the process's memory, and says what it holds now."""
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _memory(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024
