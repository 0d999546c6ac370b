"""Answers that grow with the record come in pages of bounded size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.http.replies import PAGE_BYTES, page_reply
from service.worker import Worker
from tests.record.models import record_of, register_model
from tests.service.serving import Client, make_settings, running
from tests.waiting import wait_until

VERSIONS = 7


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Worker, Client]]:
    with running(make_settings(_folder(tmp_path_factory), {"serve": {"refresh": "20ms"}})) as (worker, client):
        for number in range(VERSIONS):
            register_model(worker.record, number / 10, as_champion=number == 0)
        wait_until(lambda: worker.champion.current is not None, 60, "the champion is loaded")
        yield worker, client


def _folder(factory: pytest.TempPathFactory) -> Path:
    return factory.mktemp("pages")


def pages(client: Client, path: str, name: str, limit: int) -> list[list[Any]]:
    """All pages, one after the other."""
    found, cursor = [], ""
    while True:
        told = client.get(f"{path}{'&' if '?' in path else '?'}limit={limit}{cursor}").json()
        found.append(told[name])
        if told["next"] is None:
            return found
        cursor = f"&cursor={told['next']}"


@pytest.mark.parametrize("limit", [1, 3, VERSIONS, 1000])
def test_pages_of_versions_are_all_versions_each_once(service: tuple[Worker, Client], limit: int) -> None:
    held = pages(service[1], "/models", "models", limit)
    assert all(len(page) <= limit for page in held)
    assert [model["version"] for page in held for model in page] == [f"v{n + 1}" for n in range(VERSIONS)]


@pytest.mark.parametrize("limit", [1, 2, 1000])
def test_pages_of_events_are_all_events_each_once(service: tuple[Worker, Client], limit: int) -> None:
    held = pages(service[1], "/events?kind=model_registered", "events", limit)
    assert len([event for page in held for event in page]) == VERSIONS


def test_pages_of_a_labels_corrections_are_all_of_them(service: tuple[Worker, Client]) -> None:
    _, client = service
    client.post("/predict", {"records": [record_of()], "ids": ["often"]})
    turns = [{"id": "often", "label": ("late", "on time")[n % 2], "correct": True} for n in range(11)]
    assert client.post("/labels", {"labels": turns}).json()["accepted"] == 11
    history: list[Any] = []
    cursor = ""
    while True:
        label = client.get(f"/explain?id=often&attribution=false&limit=4{cursor}").json()["label"]
        assert label["label"] == "late"
        assert len(label["history"]) <= 4
        history += label["history"]
        if label["next"] is None:
            break
        cursor = f"&cursor={label['next']}"
    assert [held["label"] for held in history] == [turn["label"] for turn in turns]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("/models?limit=0", "limit"),
        ("/models?limit=1001", "limit"),
        ("/models?limit=x", "limit"),
        ("/models?cursor=v1", "cursor"),
        ("/events?cursor=-1", "cursor"),
        ("/explain?id=a&attribution=false&limit=1e3", "limit"),
        ("/explain?id=a&attribution=false&cursor=zzz", "cursor"),
        (f"/events?q={'x' * 1001}", "q"),
        (f"/events?q={'%25' * 20_000}", "q"),
        (f"/events?q={'é' * 1001}", "q"),
        (f"/events?kind={'x' * 50_000}", "kind"),
    ],
    ids=lambda text: text[:40],
)
def test_what_is_no_page_or_too_much_to_look_for_is_refused_in_a_few_words(
    service: tuple[Worker, Client], query: str, field: str
) -> None:
    refused = service[1].get(query)
    assert (refused.status_code, refused.json()["error"]["field"]) == (422, field)
    assert len(refused.content) < 1_000


def test_what_may_be_looked_for_is_looked_for(service: tuple[Worker, Client]) -> None:
    for text in ("x" * 1000, "%25_%5C" * 100):
        assert service[1].get(f"/events?q={text}").json()["events"] == []


def test_a_page_ends_at_its_bytes_and_goes_on_behind_them() -> None:
    """Items of a megabyte: four to a page, whatever the limit; one that is larger than a page comes alone."""
    items = [({"n": n, "text": "x" * (PAGE_BYTES // 4 - 30)}, str(n)) for n in range(10)]
    told = json.loads(page_reply("items", items, 1000).body)
    assert ([held["n"] for held in told["items"]], told["next"]) == ([0, 1, 2, 3], "3")
    told = json.loads(page_reply("items", [({"text": "x" * 2 * PAGE_BYTES}, "a"), ({}, "b")], 1000).body)
    assert (len(told["items"]), told["next"]) == (1, "a")
    assert json.loads(page_reply("items", [], 5).body) == {"items": [], "next": None}
    assert json.loads(page_reply("items", [({}, "a")], 5, "z").body) == {"items": [{}], "next": "z"}
