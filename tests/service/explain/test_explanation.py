"""GET /explain and `ringside explain`: who answered and why, what was said beside it, and what moved it."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from record.bouts.bout import ShadowScore
from record.errors import NotFound, Overloaded
from record.logged import Cursor
from record.record import Record
from ringside import commands
from service.explain.explainer import Question, explain, explain_apart
from service.explain.explanation import explanation
from service.worker import Worker
from tests.record.models import answer, record_of, register_model, write_model
from tests.service.serving import Client, make_settings, running
from tests.waiting import wait_until

EVIDENCE = {"pairs": 321, "e_value": 25.0, "needed": 20.0, "lead": {"low": 0.01, "mean": 0.03, "high": 0.05}}
DISTANCES = [None, 0.0, 250.0, 500.0, 1000.0, 4000.0]
CARRIERS = ["AA", "UA", "XX", None]
REFERENCE = [(distance, carrier) for distance in DISTANCES for carrier in CARRIERS]


def register(record: Record, bias: float, task: Any = "classification", *, as_champion: bool = False) -> str:
    """A version whose reference has every distance with every carrier."""
    stage = record.artifacts.stage()
    card = write_model(stage, bias, task)
    distances, carriers = zip(*REFERENCE, strict=True)
    columns = {"distance": pa.array([math.nan if d is None else d for d in distances]), "carrier": pa.array(carriers)}
    parquet.write_table(pa.table(columns), stage / "reference.parquet")
    return record.registry.register(
        stage, run_id="r1", parent=None, card=card | {"rows": 24}, read_until_seq=0, data_until=None, actor="test",
        as_champion=as_champion,
    ).version  # fmt: skip


def truth(record: dict[str, Any], bias: float, task: Any = "classification") -> dict[str, float]:
    """The two features' Shapley values by their definition: both orders, over the whole reference."""
    found = {"distance": 0.0, "carrier": 0.0}
    for distance, carrier in REFERENCE:
        neither, both = answer(record_of(distance, carrier), bias, task), answer(record, bias, task)
        alone = {
            "distance": answer(record_of(record["distance"], carrier), bias, task),
            "carrier": answer(record_of(distance, record["carrier"]), bias, task),
        }
        found["distance"] += (alone["distance"] - neither + both - alone["carrier"]) / 2 / len(REFERENCE)
        found["carrier"] += (alone["carrier"] - neither + both - alone["distance"]) / 2 / len(REFERENCE)
    return found


def predict(client: Client, id: str, record: dict[str, Any]) -> None:
    assert client.post("/predict", {"records": [record], "ids": [id]}).status_code == 200


def explained(client: Client, id: str, **options: str) -> dict[str, Any]:
    """On a crowded machine an explanation may be told to come again."""
    for _ in range(20):
        response = client.get("/explain", params={"id": id, **options})
        if response.status_code != 503:
            break
    assert response.status_code == 200, response.text
    held: dict[str, Any] = response.json()
    return held


def follow(client: Client, worker: Worker, version: str) -> None:
    """Until that version answers: the worker may be looking for itself just now."""
    client.call(worker._follow)
    wait_until(lambda: worker.champion.current is not None and worker.champion.current.version == version)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Worker, Client, Path]]:
    """v1 is first and answers `one`; v2 wins a bout and answers `two`; it is rolled back, and v1 answers `three`;
    v3 is promoted by hand and answers `four`."""
    folder = tmp_path_factory.mktemp("explained")
    columns = {
        "distance": {"type": "number"},
        "carrier": {"type": "category"},
        "note": {"type": "text", "role": "carried"},
    }
    settings = make_settings(folder, {"columns": columns, "log": {"redact": ["note"]}})
    with running(settings) as (worker, client):
        record = worker.record
        for version, bias in enumerate((0.0, 0.5, 1.0)):
            register(record, bias, as_champion=version == 0)
        follow(client, worker, "v1")
        predict(client, "one", record_of(700.0, "UA", "private"))
        client.post("/labels", {"labels": [{"id": "one", "label": "late"}]})
        client.post("/labels", {"labels": [{"id": "one", "label": "on time", "correct": True}]})
        row = record.log.find("one")
        assert row is not None
        bout = record.bouts.open("challenge", "v2", "v1", 1, {"alpha": 0.05}, 0)
        said = ShadowScore(row.seq, "scored", '"late"', '{"late":0.7,"on time":0.3}', 80)
        record.bouts.record_scores(bout.bout, [said], Cursor(0, row.seq))
        record.bouts.decide(bout.bout, "promoted", EVIDENCE)
        record.registry.promote("v2", actor="watcher", reason="the evidence is in", bout=bout.bout)
        follow(client, worker, "v2")
        predict(client, "two", record_of(100.0, "ZZ"))
        record.registry.rollback(actor="ann", reason="complaints")
        follow(client, worker, "v1")
        predict(client, "three", record_of(None, None))
        record.registry.promote("v3", actor="ann", reason="agreed")
        follow(client, worker, "v3")
        predict(client, "four", record_of(9999.0, "AA"))
        yield worker, client, folder


@pytest.fixture
def client(story: tuple[Worker, Client, Path]) -> Client:
    return story[1]


def test_the_record_and_the_answer_are_shown_as_logged(client: Client) -> None:
    """What was redacted stays so, and what training never saw is marked."""
    one = explained(client, "one")
    late = answer(record_of(700.0, "UA"), 0.0)
    assert (one["id"], one["model_version"], one["record"]) == ("one", "v1", record_of(700.0, "UA", None))
    assert one["redacted"] == ["note"]
    assert one["probabilities"] == pytest.approx({"late": late, "on time": 1 - late})
    assert one["prediction"] == "late"
    assert one["marks"] is None
    assert explained(client, "four")["marks"] == {"distance": "out_of_range"}
    assert one["model"] | {"registered_at": None} == {
        "family": "linear", "registered_at": None, "run_id": "r1", "rows": 24, "data_until": None,
    }  # fmt: skip
    assert "private" not in json.dumps(one)


@pytest.mark.parametrize(
    ("id", "version", "how", "kind", "actor", "ended"),
    [
        ("one", "v1", "first_version", "model_promoted", "test", True),
        ("two", "v2", "bout", "model_promoted", "watcher", True),
        ("three", "v1", "rollback", "model_rolled_back", "ann", True),
        ("four", "v3", "operator", "model_promoted", "ann", False),
    ],
)
def test_the_event_that_made_the_answering_version_champion_is_named(
    story: tuple[Worker, Client, Path], id: str, version: str, how: str, kind: str, actor: str, ended: bool
) -> None:
    worker, client, _ = story
    told = explained(client, id, attribution="false")
    champion = told["champion"]
    assert (told["model_version"], champion["how"], champion["event"]["kind"]) == (version, how, kind)
    assert champion["event"]["actor"] == actor
    assert (champion["until"] is not None) == ended
    assert champion["since"] <= told["requested_at"]
    assert not ended or champion["until"] >= told["requested_at"]
    recorded = worker.record.events.get(champion["event"]["seq"])
    assert recorded is not None
    assert champion["event"]["digest"] == recorded.digest
    if how == "bout":
        assert champion["bout"] | {"decided_at": None, "design_hash": None} == {
            "bout": "b1", "kind": "challenge", "challenger": "v2", "champion": "v1", "state": "decided",
            "outcome": "promoted", "decided_at": None, "design_hash": None, "evidence": EVIDENCE,
        }  # fmt: skip
    else:
        assert champion["bout"] is None


def test_what_the_challenger_said_and_what_was_true_stand_beside_it(client: Client) -> None:
    one = explained(client, "one", attribution="false")
    (challenger,) = one["challengers"]
    assert (challenger["version"], challenger["bout"], challenger["said"]) == ("v2", "b1", "scored")
    assert challenger["probabilities"] == {"late": 0.7, "on time": 0.3}
    assert one["label"]["label"] == "on time"
    assert [(each["label"], each["correction"]) for each in one["label"]["history"]] == [
        ("late", False),
        ("on time", True),
    ]
    assert one["label"]["received_at"] == one["label"]["history"][1]["received_at"]
    two = explained(client, "two", attribution="false")
    assert (two["challengers"], two["label"], two["attribution"]) == ([], None, None)


@pytest.mark.parametrize(("id", "bias"), [("one", 0.0), ("two", 0.5), ("three", 0.0), ("four", 1.0)])
def test_contributions_are_shapleys_of_the_version_that_answered(client: Client, id: str, bias: float) -> None:
    """Also of one that is champion no longer; twice the same; and the model still says what it said."""
    told = explained(client, id)
    found, record = told["attribution"], told["record"]
    expected = truth(record, bias)
    assert {each["feature"]: each["contribution"] for each in found["contributions"]} == pytest.approx(expected)
    sizes = [abs(each["contribution"]) for each in found["contributions"]]
    assert sizes == sorted(sizes, reverse=True)
    assert {each["feature"]: each["value"] for each in found["contributions"]} == {
        name: record[name] for name in expected
    }
    assert (found["of"], found["class"]) == ("probability", "late")
    assert found["prediction"] == pytest.approx(told["probabilities"]["late"])
    assert found["base"] == pytest.approx(np.mean([answer(record_of(*each), bias) for each in REFERENCE]))
    assert found["base"] + sum(expected.values()) == pytest.approx(found["prediction"])
    assert (found["reproduced"], found["exact"], found["complete"]) == (True, True, True)
    assert found["background_rows"] == len(REFERENCE)
    assert explained(client, id)["attribution"] == found


def test_a_regressions_value_is_explained(tmp_path: Path) -> None:
    problem = {"name": "flights", "task": "regression", "target": "arrival"}
    with running(make_settings(tmp_path, {"problem": problem})) as (worker, client):
        register(worker.record, 2.0, "regression", as_champion=True)
        client.call(worker._follow)
        predict(client, "value", record_of(700.0, "UA"))
        told = explained(client, "value")
        found = told["attribution"]
        expected = truth(record_of(700.0, "UA"), 2.0, "regression")
        assert {each["feature"]: each["contribution"] for each in found["contributions"]} == pytest.approx(expected)
        assert (found["of"], found["class"], found["prediction"]) == ("value", None, told["prediction"])
        assert told["probabilities"] is None


@pytest.mark.parametrize(
    ("query", "status", "code", "field"),
    [
        ("", 422, "invalid_record", "id"),
        ("?id=", 422, "invalid_record", "id"),
        ("?id=one&attribution=maybe", 422, "invalid_record", "attribution"),
        ("?id=one&verbose=1", 422, "invalid_record", "verbose"),
        ("?id=never-asked", 404, "not_found", "id"),
        ("?id=%00", 404, "not_found", "id"),
        ("?id=" + "x" * 300, 404, "not_found", "id"),
    ],
)
def test_what_cannot_be_explained_is_said(client: Client, query: str, status: int, code: str, field: str) -> None:
    refused = client.get(f"/explain{query}")
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["field"]) == (status, code, field)


def test_a_version_whose_files_are_gone_or_changed_is_said(tmp_path: Path) -> None:
    """404 with the file's name; what the record says is shown all the same."""
    with running(make_settings(tmp_path)) as (worker, client):
        register(worker.record, 0.0, as_champion=True)
        follow(client, worker, "v1")
        predict(client, "one", record_of())
        directory = worker.record.registry.directory("v1")
        (directory / "reference.parquet").write_bytes(b"other")
        for gone in ("reference.parquet", "v1"):
            refused = client.get("/explain", params={"id": "one"})
            while refused.status_code == 503:
                refused = client.get("/explain", params={"id": "one"})
            error = refused.json()["error"]
            assert (refused.status_code, error["code"], error["field"]) == (404, "not_found", "model_version")
            assert gone in error["message"]
            assert "attribution=false" in error["message"]
            assert explained(client, "one", attribution="false")["model_version"] == "v1"
            shutil.rmtree(directory, ignore_errors=True)


def test_many_at_once_are_answered_or_told_to_wait_and_predictions_go_on(client: Client) -> None:
    """One explanation at a time, few waiting: nobody else's thread is taken."""

    def ask(_: int) -> httpx.Response:
        return client.get("/explain", params={"id": "one"})

    with ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(ask, n) for n in range(12)]
        for n in range(5):
            predict(client, f"beside-{n}", record_of())
        statuses = [each.result().status_code for each in asked]
    assert set(statuses) <= {200, 503}
    wait_until(
        lambda: 200 in statuses or ask(0).status_code == 200, message="a moment in which it is answered", every=1.0
    )
    refused = next((each.result() for each in asked if each.result().status_code == 503), None)
    if refused is not None:
        assert refused.json()["error"]["code"] == "overloaded"
        assert refused.headers["retry-after"]


def question(worker: Worker, id: str, **changed: Any) -> Question:
    row = worker.record.log.find(id)
    assert row is not None
    version = worker.record.registry.version(row.model_version)
    directory = str(worker.record.registry.directory(version.version))
    held = {"id": id, "version": version.version, "directory": directory, "digest": version.digest}
    return Question(**{**held, "record": row.record, "said": row.probabilities, **changed})


def test_a_child_says_what_would_be_said_here_and_is_ended_when_late(story: tuple[Worker, Client, Path]) -> None:
    worker, _, _ = story
    asked = question(worker, "one", seconds=60.0)
    assert explain_apart(asked) == explain(asked)
    with pytest.raises(Overloaded, match="too long"):
        explain_apart(question(worker, "one", seconds=-3.99))


def test_a_child_holds_the_model_to_the_memory_that_a_worker_may_give_it(story: tuple[Worker, Client, Path]) -> None:
    worker, _, _ = story
    settings = worker.settings.model_copy(
        update={"serve": worker.settings.serve.model_copy(update={"model_memory": 300})}
    )
    with pytest.raises(NotFound, match="Available memory"):
        explanation(worker.record, settings, "one", explain_apart)


def test_an_answer_that_the_model_would_not_give_shows(story: tuple[Worker, Client, Path]) -> None:
    """As where somebody has changed the log."""
    worker, _, _ = story
    assert not explain(question(worker, "one", said='{"late":0.1,"on time":0.9}'))["reproduced"]


def test_the_command_tells_the_same(
    story: tuple[Worker, Client, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As JSON what the route says; as text the facts and a bar for each feature. Unknown: exit code 2."""
    _, client, folder = story
    settings = '[problem]\nname = "flights"\ntask = "classification"\ntarget = "arrival"\npositive_class = "late"\n'
    (folder / "ringside.toml").write_text(
        settings + '[columns.note]\nrole = "carried"\ntype = "text"\n'
        '[columns.distance]\ntype = "number"\n[log]\nredact = ["note"]\n'
    )

    def run(*arguments: str) -> tuple[int, str, str]:
        command = ["ringside", "explain", *arguments, "--config", str(folder / "ringside.toml")]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            commands.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    code, out, _ = run("one", "--json")
    assert (code, json.loads(out)) == (0, explained(client, "one"))
    code, out, _ = run("two")
    assert code == 0
    assert "it won a bout" in out
    assert "bout b1 of v2 against v1: pairs 321" in out
    assert "what moved the probability of late" in out
    assert "the model says the same again" in out
    code, out, _ = run("one", "--no-attribution")
    assert (code, "what moved" in out) == (0, False)
    assert "earlier labels" in out
    code, _, err = run("never-asked")
    assert (code, "no answered prediction" in err) == (2, True)


def test_the_service_takes_no_part_in_the_work(story: tuple[Worker, Client, Path]) -> None:
    """Its processor time is a child's."""
    worker, _, _ = story
    asked = question(worker, "one", seconds=60.0)
    before = os.times()
    explain_apart(asked)
    after = os.times()
    assert after.user - before.user < 0.3 * (after.children_user - before.children_user)


def test_a_model_without_its_own_reference_of_many_rows_is_explained(tmp_path: Path) -> None:
    """One row is a background too; it has no standard error."""
    with running(make_settings(tmp_path)) as (worker, client):
        register_model(worker.record, 0.0, as_champion=True)
        follow(client, worker, "v1")
        predict(client, "one", record_of(0.0, "UA"))
        found = explained(client, "one")["attribution"]
        assert found["background_rows"] == 1
        assert {each["error"] for each in found["contributions"]} == {None}
