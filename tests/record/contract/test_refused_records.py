"""What was refused is counted by column, and told once a minute without a value of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from record.contract.columns import Column
from record.contract.decoder import Decoder
from record.contract.refused_records import RefusedRecords, refused_by_column
from record.contract.schema import ProblemSchema
from record.errors import InvalidRecord
from record.record import open_record
from tests.record.models import record_of, register_model
from tests.service.serving import make_settings, running

PROBLEM = ProblemSchema("regression", "y", (Column("x", "feature", "number"), Column("a].b", "feature", "number")))


def refusal(record: object) -> InvalidRecord:
    with pytest.raises(InvalidRecord) as caught:
        Decoder(PROBLEM).check([record])
    return caught.value


def test_refusals_are_counted_by_the_problems_own_columns_only() -> None:
    """A name that a client made up is not told: it may be anything."""
    refused = RefusedRecords()
    for record in ({"x": "1", "a].b": 1}, {"x": "2", "a].b": 1}, {"x": 1}, {"x": 1, "a].b": 1, "Ann": 1}, 7):
        refused.add(refusal(record), PROBLEM)
    told = refused.due()
    assert told == {"*:not_an_object": 1, "*:unknown_column": 1, "a].b:missing": 1, "x:type": 2}
    assert "Ann" not in json.dumps(told)
    assert refused_by_column([told, {"x:range": 3}]) == {"*": 2, "a].b": 1, "x": 5}


def test_they_are_told_once_a_minute_and_at_the_end() -> None:
    now = [0.0]
    refused = RefusedRecords(lambda: now[0])
    assert refused.due() == {}
    refused.add(refusal(7), PROBLEM)
    assert refused.due() == {"*:not_an_object": 1}
    refused.add(refusal(7), PROBLEM)
    assert refused.due() == {}
    assert refused.due(all_of_them=True) == {"*:not_an_object": 1}
    refused.add(refusal(7), PROBLEM)
    now[0] = 61.0
    assert refused.due() == {"*:not_an_object": 1}


def test_a_worker_tells_of_what_it_refused(tmp_path: Path) -> None:
    """At the latest when it stops."""
    settings = make_settings(tmp_path)
    record = open_record(settings)
    register_model(record, as_champion=True)
    with running(settings) as (_, client):
        for distance in ("far", "near"):
            assert client.post("/predict", {"records": [record_of(), {"distance": distance}]}).status_code == 422
    (told,) = record.events.page(kind="records_refused", limit=10)[0]
    assert told.data["counts"] == {"distance:type": 2}
    record.close()
