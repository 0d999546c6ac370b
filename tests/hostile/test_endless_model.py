"""A model file that never comes to an end: it is refused at its deadline, and what served before goes on."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from record.errors import ArtifactError
from record.versions.artifact import ArtifactStore, verify
from record.versions.load_deadline import LoadTimeout, run_before
from record.versions.model import ServedModel
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
