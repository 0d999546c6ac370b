"""docs/api.md says what is so: each of its examples is run against a live service."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from record.contract.schema import ProblemSchema, Schema
from record.record import Record, open_record
from service.http.routes import RULES
from tests.record.models import make_schema, write_model
from tests.service.serving import LiveService, live_service, wait_ready, write_config

PAGE = (Path(__file__).parent.parent / "docs" / "api.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SECRET = "the-secret-of-the-page"
ROLES = ["predict", "label", "alert", "read", "operate"]
RUN = "run-20260105-0a1b2c3d"
REFERENCE: dict[str, Any] = {"distance": 500.0, "carrier": "AA", "note": None}


def schema() -> Schema:
    """The page's columns: its note is not required."""
    held = make_schema()
    columns = tuple(replace(column, required=column.name != "note") for column in held.problem.columns)
    problem: ProblemSchema = replace(held.problem, columns=columns)
    return replace(held, problem=problem)


def register(record: Record, bias: float, as_champion: bool) -> None:
    stage = record.artifacts.stage()
    card = write_model(stage, bias)
    (stage / "schema.json").write_text(schema().to_json())
    made = record.registry.register(
        stage,
        run_id=None,
        parent=None,
        card=card,
        read_until_seq=0,
        data_until=None,
        actor="test",
        as_champion=as_champion,
    )
    record.reports.add("model", record.registry.directory(made.version) / "report.html", made.version)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveService, str]]:
    """A service with three versions, a run that failed and a report, and the report's id."""
    folder = tmp_path_factory.mktemp("page")
    token = {"name": "page", "roles": ROLES, "sha256": sha256(SECRET.encode()).hexdigest()}
    (folder / "tokens.json").write_text(json.dumps([token]))
    settings = write_config(folder, 'tokens = "tokens.json"')
    record = open_record(settings)
    for bias in (0.0, 0.5, 1.0):
        register(record, bias, as_champion=bias == 0.0)
    report = record.reports.add("drift", "<!doctype html><title>drift</title>")
    run = record.runs.request("operator", "ada", "new price list", run_id=RUN)
    record.runs.start(run.run_id, record.clock.now())
    record.runs.fail(run.run_id, "the source is empty")
    record.close()
    with live_service(settings, folder) as service:
        wait_ready(service)
        yield service, report


@pytest.fixture(scope="module")
def surroundings(live: tuple[LiveService, str]) -> dict[str, str]:
    service, report = live
    return {**os.environ, "RINGSIDE": service.url, "TOKEN": SECRET, "REPORT": report, "RUN": RUN}


def same_shape(shown: Any, found: Any) -> bool:
    """Whether both have the same keys and types all the way down; an empty object or null may hold anything."""
    if isinstance(shown, dict) and isinstance(found, dict):
        return not shown or (set(shown) == set(found) and all(same_shape(shown[key], found[key]) for key in shown))
    if isinstance(shown, list) and isinstance(found, list):
        return len(shown) == len(found) and all(map(same_shape, shown, found))
    if shown is None or isinstance(shown, bool):
        return shown is found
    if isinstance(shown, int | float):
        return isinstance(found, int | float) and not isinstance(found, bool)
    return type(shown) is type(found)


PATIENT_TRIES = 20


def test_every_example_works_and_answers_as_the_page_says(
    live: tuple[LiveService, str], surroundings: dict[str, str]
) -> None:
    """In the page's order, because later examples are about what earlier ones did."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    for place, (kind, block) in enumerate(BLOCKS):
        if kind != "bash" or "curl" not in block:
            continue
        script = f"set -e\n{block}"
        done = subprocess.run(["bash", "-c", script], env=surroundings, capture_output=True, text=True, check=False)
        for _ in range(PATIENT_TRIES):  # 503 says *later*: an explanation gives way where the machine is busy
            if "overloaded" not in done.stdout:
                break
            done = subprocess.run(["bash", "-c", script], env=surroundings, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        following, shown = BLOCKS[place + 1] if place + 1 < len(BLOCKS) else ("", "")
        if following == "json":
            last = _last_object(done.stdout)
            assert same_shape(json.loads(shown), last), f"{block}\nis said to answer\n{shown}\nbut answers\n{last}"


def _last_object(text: str) -> Any:
    """Answers stand one behind the other: the last one."""
    decoder, at, held = json.JSONDecoder(), 0, None
    while at < len(text):
        held, at = decoder.raw_decode(text, at)
    return held


def test_every_route_has_an_example() -> None:
    asked = set()
    for curl in re.findall(r"curl -sS --fail-with-body \"\$RINGSIDE([^\"]*)\"(.*)", PAGE):
        path, rest = curl
        path = path.partition("?")[0].replace("$REPORT", "a1").replace("$RUN", RUN)
        asked.add(("POST" if "--json" in rest else "GET", path))
    for rule in RULES:
        if rule.path.endswith("/"):
            continue
        template = re.compile(re.sub(r"\{\w+\}", "[^/]+", rule.path))
        found = [path for method, path in asked if method == rule.method and template.fullmatch(path)]
        assert found, f"{rule.method} {rule.path} has no example in docs/api.md"


FORMS = re.findall(r"^\| (.+?) \| `([{\[].*[}\]])` \| (the same|another|refused: `\w+`) \|$", PAGE, re.MULTILINE)


def test_the_table_of_forms_is_read() -> None:
    assert len(FORMS) == PAGE.partition("| what | record | read as |")[2].partition("\n\n")[0].count("\n| ")


@pytest.mark.parametrize(("what", "record", "read"), FORMS, ids=[what for what, _, _ in FORMS])
def test_a_record_is_read_as_the_table_says(live: tuple[LiveService, str], what: str, record: str, read: str) -> None:
    """An id that was answered before tells whether two records are the same."""
    service, _ = live
    headers = {"Authorization": f"Bearer {SECRET}"}
    id = f"form-{FORMS.index((what, record, read))}"
    first = httpx.post(f"{service.url}/predict", json={"records": [REFERENCE], "ids": [id]}, headers=headers)
    assert first.status_code == 200, first.text
    again = httpx.post(
        f"{service.url}/predict", content=f'{{"records": [{record}], "ids": ["{id}"]}}'.encode(), headers=headers
    )
    if read == "the same":
        assert again.status_code == 200, again.text
        assert again.json()["predictions"][0]["probabilities"] == first.json()["predictions"][0]["probabilities"]
    elif read == "another":
        assert (again.status_code, again.json()["error"]["code"]) == (409, "id_conflict")
    else:
        assert (again.status_code, again.json()["error"]["code"]) == (422, "invalid_record")
        reason = read.removeprefix("refused: ").strip("`")
        metrics = httpx.get(f"{service.url}/metrics", headers=headers).text
        assert re.search(rf'ringside_invalid_records_total\{{reason="{reason}"\}} [1-9]', metrics)


def test_the_python_example_runs(surroundings: dict[str, str]) -> None:
    place = next(place for place, (kind, _) in enumerate(BLOCKS) if kind == "python")
    done = subprocess.run(
        [sys.executable, "-c", BLOCKS[place][1]],
        env=surroundings,
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[2] == "1 ('never-asked',)"
    assert lines[-1] == BLOCKS[place + 1][1].strip()
