"""The champion: what loads, what answers, and what happens when the role moves."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from record.contract.decoder import Decoder
from record.errors import ArtifactError, NoChampion
from record.record import Record, open_record
from record.versions.artifact import ArtifactStore
from record.versions.model import OnnxScorer, Scores, ServedModel
from service.champion import Champion, LoadRefused, Switched
from service.wording import Wording
from tests.record.models import POISON, Task, answer, make_model, make_schema, record_of, register_model, write_model
from tests.service.serving import make_settings

RECORDS = [
    record_of(),
    record_of(0.1, "UA"),
    record_of(-4500.0, "never seen"),
    record_of(None, None),
    record_of(2**24 + 1, "AA"),
    record_of(3e4, "Ünïcode ✈"),
]


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    opened = open_record(make_settings(tmp_path))
    yield opened
    opened.close()


def stage_model(tmp_path: Path, task: Task = "classification", *, golden_error: float = 0.0) -> tuple[Path, str]:
    store = ArtifactStore(tmp_path / "artifacts")
    stage = store.stage()
    card = write_model(stage, 0.25, task, golden_error=golden_error)
    (stage / "card.json").write_text(json.dumps(card))
    digest = store.seal(stage)
    return store.publish(stage, "v1"), digest


def test_a_loaded_version_answers_by_its_formula(tmp_path: Path) -> None:
    """Missing, unseen, large and negative values included."""
    model = ServedModel.load(*_named(stage_model(tmp_path)))
    scores = model.score(model.decoder.decode(RECORDS))
    assert scores.probabilities is not None
    expected = [answer(record, 0.25) for record in RECORDS]
    assert scores.probabilities[:, 0] == pytest.approx(expected, abs=1e-12)
    assert scores.probabilities.sum(axis=1) == pytest.approx(np.ones(len(RECORDS)))


def test_a_regression_answers_with_values(tmp_path: Path) -> None:
    """Its output is one number for each row."""
    model = ServedModel.load(*_named(stage_model(tmp_path, "regression")))
    scores = model.score(model.decoder.decode(RECORDS))
    assert scores.probabilities is None
    assert scores.raw == pytest.approx([answer(record, 0.25, "regression") for record in RECORDS])


def test_known_answers_are_held_against_the_model(tmp_path: Path) -> None:
    """A version whose golden predictions come out differently is refused."""
    with pytest.raises(ArtifactError, match=r"golden\.parquet: 33 known answers, the largest difference is"):
        ServedModel.load(*_named(stage_model(tmp_path, golden_error=1e-4)))


@pytest.mark.parametrize("name", ["model.onnx", "schema.json", "golden.parquet", "card.json", "estimator.skops"])
def test_a_changed_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    """Nothing is parsed before all files are what was registered."""
    directory, digest = stage_model(tmp_path)
    (directory / name).write_bytes((directory / name).read_bytes() + b" ")
    with pytest.raises(ArtifactError, match=name.replace(".", r"\.")):
        ServedModel.load(directory, "v1", digest)


def test_a_model_that_answers_what_nobody_asked_is_refused() -> None:
    """Other inputs, other outputs, no model at all."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["numbers"], ["answer"])],
        "odd",
        [helper.make_tensor_value_info("numbers", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, [None, 1])],
    )
    odd = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(ArtifactError, match="outputs"):
        OnnxScorer(odd.SerializeToString())
    with pytest.raises(ArtifactError, match="onnxruntime cannot load it"):
        OnnxScorer(b"none")


def test_an_answer_that_is_not_finite_is_never_given() -> None:
    """The error names the record; the others of its request are not answered either."""
    schema = make_schema()
    model = ServedModel("v1", "", schema, Decoder(schema), OnnxScorer(make_model()))
    with pytest.raises(NoChampion, match=r"records\[1\]: the champion v1 gave no finite answer") as raised:
        model.score(model.decoder.decode([record_of(), record_of(POISON), record_of()]))
    assert raised.value.field == "records[1]"


def test_answers_are_worded_as_json() -> None:
    """Also where a class's name holds what templates and JSON mean something else by."""
    names = ('50% "off"', "süß", "c")
    wording = Wording(replace(make_schema(), classes=names))
    probabilities = np.array([[0.1, 0.7, 0.2], [1e-9, 0.5, 0.5]])
    worded = wording.word(Scores(probabilities, None))
    assert [json.loads(text) for text in worded.predictions] == ["süß", "süß"]
    held = [json.loads(text) for text in worded.probabilities if text is not None]
    assert held == [dict(zip(names, row, strict=True)) for row in probabilities.tolist()]
    assert worded.shown == [0.7, 0.5]


def test_the_positive_class_is_what_is_shown() -> None:
    """Of two classes the positive one's probability, whichever is predicted."""
    worded = Wording(make_schema()).word(Scores(np.array([[0.2, 0.8], [0.9, 0.1]]), None))
    assert (worded.predictions, worded.shown, worded.places) == (['"on time"', '"late"'], [0.2, 0.9], [1, 0])


def test_the_champion_follows_its_role(record: Record) -> None:
    """Nothing until there is one, then each new one; a look without a move loads nothing."""
    champion = Champion(record.registry)
    assert champion.refresh() is None
    assert champion.current is None
    register_model(record, 0.1, as_champion=True)
    moved = champion.refresh()
    assert isinstance(moved, Switched)
    assert (moved.before, moved.after) == (None, "v1")
    loaded = champion.current
    assert champion.refresh() is None
    assert champion.current is loaded
    register_model(record, 0.2)
    record.registry.promote("v2", actor="test", reason="better")
    champion.refresh()
    assert champion.current is not None
    assert champion.current.version == "v2"


def test_a_broken_champion_leaves_the_old_one_serving(record: Record) -> None:
    """It is reported once, tried again after a pause, and taken when it has been repaired."""
    now = [0.0]
    champion = Champion(record.registry, monotonic=lambda: now[0])
    register_model(record, 0.1, as_champion=True)
    champion.refresh()
    register_model(record, 0.2)
    file = record.registry.directory("v2") / "model.onnx"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    record.registry.promote("v2", actor="test", reason="better")
    refused = champion.refresh()
    assert isinstance(refused, LoadRefused)
    assert (refused.version, refused.serving) == ("v2", "v1")
    assert "model.onnx" in refused.reason
    assert champion.current is not None
    assert champion.current.version == "v1"
    file.write_bytes(whole)
    assert champion.refresh() is None  # too early
    now[0] += 2
    assert isinstance(champion.refresh(), Switched)
    assert champion.current.version == "v2"


def test_a_version_that_nobody_foresaw_to_be_wrong_is_refused_like_any_other(record: Record) -> None:
    """Its files are what was registered; what they hold is not what this code reads."""
    stage = record.artifacts.stage()
    card = {**write_model(stage, 0.1, "regression"), "target_sd": ["wide"]}
    record.registry.register(
        stage, run_id=None, parent=None, card=card, read_until_seq=0, data_until=None, actor="test", as_champion=True
    )
    refused = Champion(record.registry).refresh()
    assert isinstance(refused, LoadRefused)
    assert "v1: its files cannot be read: TypeError" in refused.reason


def test_a_version_with_other_known_answers_is_not_served(record: Record) -> None:
    """The files are what was registered, and still it does not answer."""
    register_model(record, 0.1, as_champion=True, golden_error=0.5)
    champion = Champion(record.registry)
    refused = champion.refresh()
    assert isinstance(refused, LoadRefused)
    assert champion.current is None


def test_a_sum_of_doubles_says_whether_all_are_finite() -> None:
    """What `score` relies on: no finite probabilities add up to infinity."""
    assert math.isfinite(np.full((10_000, 100), 1.0).sum())
    for bad in (math.nan, math.inf, -math.inf):
        assert not math.isfinite(np.array([[1.0, 0.0], [bad, 0.5]]).sum())


def _named(staged: tuple[Path, str]) -> tuple[Path, str, str]:
    return staged[0], "v1", staged[1]
