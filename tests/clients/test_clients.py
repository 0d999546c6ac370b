"""Other makers' clients, as they come, against a live service: they see what POST /predict answers."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.clients.conftest import Caller
from tests.record.models import record_of
from tests.service.serving import LiveService, bearer

RECORDS = [record_of(500.0, "AA", "one"), record_of(None, "UA", "two"), record_of(0.1, "ZZ", "naïve ☕")]
FULL = [record for record in RECORDS if record["distance"] is not None]


@pytest.fixture
def plain(live: LiveService) -> list[dict[str, Any]]:
    """What the service's own route answers."""
    response = httpx.post(f"{live.url}/predict", json={"records": RECORDS}, headers=bearer("predictor"))
    assert response.status_code == 200, response.text
    return list(response.json()["predictions"])


def expected(plain: list[dict[str, Any]], id: str, full: bool = False) -> dict[str, Any]:
    rows = [row for row, record in zip(plain, RECORDS, strict=True) if not full or record in FULL]
    return {
        "id": id,
        "version": "v1",
        "predictions": [row["prediction"] for row in rows],
        "probabilities": [list(row["probabilities"].values()) for row in rows],
    }


def test_tritons_client_sees_the_same_answers(call: Caller, plain: list[dict[str, Any]]) -> None:
    told = call("call_with_triton.py", {"headers": bearer("predictor"), "records": RECORDS})
    assert (told["live"], told["ready"], told["model_ready"], told["version_ready"]) == (True,) * 4
    assert told["other_version_ready"] is False
    assert told["server"]["name"] == "ringside"
    assert told["model"]["versions"] == ["v1"]
    assert told["first"] == told["again"] == {**expected(plain, "triton-1"), "raw": True}
    assert told["json"] == {**expected(plain, "triton-2", full=True), "raw": False}
    assert told["error"] == {
        "message": "inputs.distance[0]: missing; expected a value, or null where it is not known",
        "status": "400",
    }


def test_kserves_client_sees_the_same_answers(call: Caller, plain: list[dict[str, Any]]) -> None:
    told = call("call_with_kserve.py", {"headers": bearer("predictor"), "records": RECORDS})
    assert (told["live"], told["ready"], told["model_ready"], told["other_model_ready"]) == (True, True, True, False)
    version = {"version": "v1"}  # which this client does not keep
    assert told["first"] | version == expected(plain, "kserve-1")
    assert told["json"] | version == expected(plain, "kserve-2", full=True)
    assert told["error"].startswith("inputs: expected a list of tensors, one for each column, '400 Bad Request'")


def test_mlservers_types_and_codecs_see_the_same_answers(call: Caller, plain: list[dict[str, Any]]) -> None:
    told = call("call_with_mlserver.py", {"headers": bearer("predictor"), "records": RECORDS})
    assert (told["server"], told["inputs"]) == ("ringside", ["distance", "carrier", "note"])
    assert told["frame"] == expected(plain, "mlserver-1")
    assert told["typed"] == expected(plain, "mlserver-2")
