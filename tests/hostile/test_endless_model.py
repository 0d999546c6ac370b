"""A model file that never comes to an end, or to the end of memory: it is refused, and what served before goes on."""

from __future__ import annotations

import json
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from record.errors import ArtifactError
from record.record import Record
from record.versions.artifact import ArtifactStore, verify
from record.versions.load_deadline import LoadTimeout, run_before
from record.versions.model import MODEL_BYTES, ModelMemory, ServedModel
from record.versions.onnx_file import refuse_external_data
from service.champion import TIMEOUT_PAUSE_SECONDS
from tests.record.models import make_model, record_of, register_model, write_model
from tests.service.serving import make_settings, running
from tests.waiting import wait_until

TURNS = 10**12


def endless_model() -> bytes:
    """The tiny model with a loop of 10^12 turns before its answer, of which it adds nothing."""
    model = onnx.load_model_from_string(make_model(0.0))
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Add", ["sum", "step"], ["next"])],
        "turn",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.DOUBLE, []),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.DOUBLE, []),
        ],
        [helper.make_tensor("step", TensorProto.DOUBLE, [], [0.0])],
    )
    (output,) = model.graph.output
    for node in model.graph.node:
        node.output[:] = [f"{output.name}_before" if name == output.name else name for name in node.output]
    kind = output.type.tensor_type.elem_type
    model.graph.initializer.extend(
        [
            helper.make_tensor("turns", TensorProto.INT64, [], [TURNS]),
            helper.make_tensor("always", TensorProto.BOOL, [], [True]),
            helper.make_tensor("nothing", TensorProto.DOUBLE, [], [0.0]),
        ]
    )
    model.graph.node.extend(
        [
            helper.make_node("Loop", ["turns", "always", "nothing"], ["summed"], body=body),
            helper.make_node("Cast", ["summed"], ["added"], to=kind),
            helper.make_node("Add", [f"{output.name}_before", "added"], [output.name]),
        ]
    )
    return bytes(model.SerializeToString())


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next versions that are made have it."""
    monkeypatch.setattr("tests.record.models.make_model", lambda *_: endless_model())


def test_a_load_ends_at_its_deadline() -> None:
    """And says what took too long; what fails before fails as it did."""
    stopped = threading.Event()
    with pytest.raises(LoadTimeout, match=r"within 0.01 seconds \(serve.load_timeout\)"):
        run_before(0.01, lambda: stopped.wait(60), stopped.set)
    assert run_before(60, lambda: 5, stopped.set) == 5
    with pytest.raises(ZeroDivisionError):
        run_before(60, lambda: 1 / 0, stopped.set)


def test_a_loop_of_a_million_million_turns_is_refused(tmp_path: Path, endless: None) -> None:
    """And burns no processor afterwards: the run is told to stop."""
    store = ArtifactStore(tmp_path)
    stage = store.stage()
    (stage / "card.json").write_text(json.dumps(write_model(stage, 0.0)))
    digest = store.seal(stage, store.hash_files(stage))
    with pytest.raises(ArtifactError, match="load_timeout"):
        ServedModel.read(verify(store.publish(stage, "v1"), digest), "v1", deadline_seconds=0.5)
    wait_until(lambda: all(thread.name != "load" for thread in threading.enumerate()), 60, "the thread has ended")


def test_the_champion_before_goes_on_and_a_third_one_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that follows the role is not held up: neither by the endless one, nor on its way to the next."""
    settings = make_settings(tmp_path, {"serve": {"load_timeout": "500ms", "refresh": "20ms"}})
    with running(settings) as (worker, client):
        registry = worker.record.registry
        register_model(worker.record, as_champion=True)
        wait_until(lambda: worker.champion.current is not None, 60, "the champion is loaded")
        with monkeypatch.context() as patch:
            patch.setattr("tests.record.models.make_model", lambda *_: endless_model())
            register_model(worker.record)
        register_model(worker.record, bias=1.0)
        registry.promote("v2", actor="test", reason="it never ends")
        wait_until(lambda: worker.champion._failed is not None, 60, "it is refused")
        assert client.post("/predict", {"records": [record_of()]}).json()["model_version"] == "v1"
        assert worker.champion._next_try - time.monotonic() > TIMEOUT_PAUSE_SECONDS / 2
        registry.promote("v3", actor="test", reason="it ends")
        wait_until(lambda: client.get("/readyz").json()["model_version"] == "v3", 60, "the next one serves")
        assert np.isfinite(
            client.post("/predict", {"records": [record_of()]}).json()["predictions"][0]["probabilities"]["late"]
        )


ELEMENTS = 10**8  # of eight bytes: enough to be seen, and too few to harm the machine where the bound does not hold
BOUND = 200_000_000
SPARE = 150 * 2**20  # what a load takes besides


def hungry_model(kind: str) -> bytes:
    """The tiny model with a tensor of 10^8 elements before its answer, of which it adds nothing.

    By a shape that stands in the file, by one that follows from the request (a distance of 1 is 10^8 elements), or as
    a sparse tensor.
    """
    model = onnx.load_model_from_string(make_model(0.0))
    graph = model.graph
    (output,) = graph.output
    for node in graph.node:
        node.output[:] = [f"{output.name}_before" if name == output.name else name for name in node.output]
    zero = helper.make_tensor("value", TensorProto.DOUBLE, [1], [0.0])
    if kind == "a sparse tensor":
        value = helper.make_tensor("big", TensorProto.DOUBLE, [1], [0.0])
        index = helper.make_tensor("big_index", TensorProto.INT64, [1], [0])
        graph.sparse_initializer.append(helper.make_sparse_tensor(value, index, [ELEMENTS]))
    elif kind == "a shape of the request's":
        graph.initializer.extend(
            [
                helper.make_tensor("least", TensorProto.FLOAT, [], [1e6]),
                helper.make_tensor("single", TensorProto.INT64, [1], [1]),
            ]
        )
        graph.node.extend(
            [
                helper.make_node("ReduceMax", ["numbers"], ["largest"], keepdims=0),
                helper.make_node("Mul", ["largest", "least"], ["wanted"]),
                helper.make_node("Max", ["wanted", "least"], ["count"]),
                helper.make_node("Cast", ["count"], ["whole"], to=TensorProto.INT64),
                helper.make_node("Reshape", ["whole", "single"], ["shape"]),
                helper.make_node("ConstantOfShape", ["shape"], ["big"], value=zero),
            ]
        )
    else:
        graph.initializer.append(helper.make_tensor("shape", TensorProto.INT64, [1], [ELEMENTS]))
        graph.node.append(helper.make_node("ConstantOfShape", ["shape"], ["big"], value=zero))
    graph.node.extend(
        [
            helper.make_node("ReduceSum", ["big"], ["summed"], keepdims=0),
            helper.make_node("Cast", ["summed"], ["added"], to=output.type.tensor_type.elem_type),
            helper.make_node("Add", [f"{output.name}_before", "added"], [output.name]),
        ]
    )
    return bytes(model.SerializeToString())


@pytest.fixture
def bounded() -> Iterator[None]:
    yield
    ModelMemory.bound(MODEL_BYTES)  # sessions that other tests make in this process


@pytest.mark.parametrize("kind", ["a shape", "a sparse tensor"])
def test_a_model_that_asks_for_more_memory_than_it_may_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bounded: None, kind: str
) -> None:
    """Before it has taken it; what serves goes on, and so does the process."""
    model = hungry_model(kind)
    settings = make_settings(tmp_path, {"serve": {"model_memory": BOUND, "refresh": "20ms"}})
    with running(settings) as (worker, client):
        register_model(worker.record, as_champion=True)
        wait_until(lambda: worker.champion.current is not None, 60, "the champion is loaded")
        with monkeypatch.context() as patch:
            patch.setattr("tests.record.models.make_model", lambda *_: model)
            patch.setattr("record.versions.artifact.refuse_external_data", lambda *_: None)  # as if sealed elsewhere
            register_model(worker.record)
        before = peak_memory()
        worker.record.registry.promote("v2", actor="test", reason="it is hungry")
        wait_until(lambda: worker.champion._failed is not None, 60, "it is refused")
        assert peak_memory() - before < SPARE
        assert client.post("/predict", {"records": [record_of()]}).json()["model_version"] == "v1"


def test_a_request_that_makes_a_model_hungry_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bounded: None
) -> None:
    settings = make_settings(tmp_path, {"serve": {"model_memory": BOUND, "refresh": "20ms"}})
    with running(settings) as (worker, client):
        model = hungry_model("a shape of the request's")
        with monkeypatch.context() as patch:
            patch.setattr("tests.record.models.make_model", lambda *_: model)
            register_small(worker.record, tmp_path)
        wait_until(lambda: worker.champion.current is not None, 60, "the champion is loaded")
        assert client.post("/predict", {"records": [record_of(0.0)]}).status_code == 200
        before = peak_memory()
        refused = client.post("/predict", {"records": [record_of(100.0)]})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "no_champion")
        assert peak_memory() - before < SPARE
        assert client.post("/predict", {"records": [record_of(0.0)]}).status_code == 200


def test_a_sparse_tensor_of_ordinary_size_is_none_of_its_affair() -> None:
    model = onnx.load_model_from_string(hungry_model("a sparse tensor"))
    refuse = pytest.raises(ArtifactError, match=r"a sparse tensor of 100000000 elements; expected at most 1,000,000")
    with refuse:
        refuse_external_data(model.SerializeToString(), "model.onnx")
    model.graph.sparse_initializer[0].dims[:] = [1000]
    refuse_external_data(model.SerializeToString(), "model.onnx")


def register_small(record: Record, folder: Path) -> None:
    """As `register_model`, with known answers to records without a distance alone."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    stage = record.artifacts.stage()
    card = write_model(stage, 0.0)
    known = parquet.read_table(stage / "golden.parquet").to_pylist()
    kept = [row for row in known if json.loads(row["record"])["distance"] == 0]
    parquet.write_table(pa.Table.from_pylist(kept), stage / "golden.parquet")
    record.registry.register(
        stage, run_id=None, parent=None, card=card, read_until_seq=0, data_until=None, actor="test", as_champion=True
    )


def peak_memory() -> int:
    """The most that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
