"""What is relied on of each name that uvicorn does not promise to keep."""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import tomllib
from pathlib import Path
from textwrap import dedent

import pytest
import uvicorn.config
from packaging.requirements import Requirement

from service.http import uvicorn_parts
from service.http.listening import LOOP, FairLoop, fair_loop, listen_fairly
from service.http.response_cycle import ResponseCycle
from service.http.uvicorn_parts import (
    HIGH_WATER_LIMIT,
    STATUS_LINE,
    FlowControl,
    HttpToolsProtocol,
    RequestResponseCycle,
    ServerState,
    use_loop,
    use_protocol,
)

ROOT = Path(__file__).parents[3]


def attributes(source: str, owner: str) -> set[str]:
    """The names that are read or set on `owner.NAME` in a source text."""
    return {
        node.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == owner
    }


def test_the_installed_version_is_within_the_declared_bound() -> None:
    """The bound names one minor release: its classes are tested with that one."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (declared,) = (requirement for requirement in map(Requirement, listed) if requirement.name == "uvicorn")
    assert "<" in str(declared.specifier)
    assert importlib.metadata.version("uvicorn") in declared.specifier


def test_status_lines_are_whole_first_lines_of_answers() -> None:
    """They are written to the socket as they are."""
    assert STATUS_LINE[200] == b"HTTP/1.1 200 OK\r\n"
    assert STATUS_LINE[503].startswith(b"HTTP/1.1 503 ")


@pytest.mark.parametrize(
    "method",
    [
        "connection_made",
        "connection_lost",
        "data_received",
        "eof_received",
        "on_message_begin",
        "on_url",
        "on_header",
        "on_headers_complete",
        "on_body",
        "on_message_complete",
        "on_response_complete",
        "pause_writing",
        "resume_writing",
        "shutdown",
        "_start_asgi_task",
    ],
)
def test_the_protocol_calls_the_methods_that_are_overridden(method: str) -> None:
    """A method that uvicorn renames would be overridden in vain."""
    assert callable(getattr(HttpToolsProtocol, method))


def test_a_request_is_started_by_a_method_of_its_own() -> None:
    """So that the fast lane can keep it until its body is there."""
    assert list(inspect.signature(HttpToolsProtocol._start_asgi_task).parameters) == ["self", "cycle", "app"]


def test_a_request_has_every_attribute_that_is_used_of_it() -> None:
    """Read from the sources of who uses it, so that the list cannot go out of date."""
    made = attributes(inspect.getsource(ResponseCycle), "self") | set(dir(ResponseCycle))
    for name in ("fast_lane.py", "connections.py"):
        source = (ROOT / "service" / "http" / name).read_text()
        used = attributes(source, "cycle") | attributes(source, "self._cycle") | attributes(source, "self.cycle")
        assert used
        assert used - made == set()


def test_a_request_sets_every_attribute_that_uvicorn_sets() -> None:
    """`ResponseCycle` does without uvicorn's initializer; what it leaves out is uvicorn's own way of writing."""
    theirs = attributes(dedent(inspect.getsource(RequestResponseCycle.__init__)), "self")
    ours = attributes(dedent(inspect.getsource(ResponseCycle.__init__)), "self")
    unused = {"logger", "access_logger", "access_log", "on_response", "chunked_encoding", "expected_content_length"}
    assert theirs - ours == unused


def test_reading_and_writing_are_paused_by_the_flow_of_a_connection() -> None:
    """Each once, however often it is asked."""
    transport = FakeTransport()
    flow = FlowControl(transport)  # type: ignore[arg-type]
    flow.pause_reading()
    flow.pause_reading()
    flow.resume_reading()
    assert transport.calls == ["pause_reading", "resume_reading"]
    flow.pause_writing()
    assert flow.write_paused
    assert HIGH_WATER_LIMIT == 65_536


class FakeTransport:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pause_reading(self) -> None:
        self.calls.append("pause_reading")

    def resume_reading(self) -> None:
        self.calls.append("resume_reading")


def test_a_server_knows_its_connections() -> None:
    """They are counted and swept by it."""
    assert ServerState().connections == set()


def test_a_protocol_is_named_in_the_table_that_servers_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """`http="auto"` is what BentoML leaves in the configuration."""
    monkeypatch.setitem(uvicorn.config.HTTP_PROTOCOLS, "auto", uvicorn.config.HTTP_PROTOCOLS["auto"])

    class Protocol(HttpToolsProtocol):
        """Another one."""

    use_protocol(Protocol)

    async def nothing(scope: object, receive: object, send: object) -> None:
        """No application."""

    configuration = uvicorn.Config(nothing, http="auto", lifespan="off", log_config=None)
    configuration.load()
    assert configuration.http_protocol_class is Protocol


def test_a_loop_is_named_in_the_table_that_servers_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an import string, in the form of uvicorn's own."""
    monkeypatch.setitem(uvicorn.config.LOOP_FACTORIES, "auto", uvicorn.config.LOOP_FACTORIES["auto"])
    use_loop("somewhere:loop")
    assert uvicorn.config.LOOP_FACTORIES["auto"] == "somewhere:loop"
    listen_fairly()
    assert uvicorn.config.LOOP_FACTORIES["auto"] == LOOP
    assert fair_loop() is FairLoop
    assert uvicorn.Config("nowhere:app", loop="auto").get_loop_factory() is FairLoop


def test_no_name_is_here_without_a_test() -> None:
    """Every name of the module stands in this file."""
    text = Path(__file__).read_text().split("ROOT = ")[1]
    assert [name for name in uvicorn_parts.__all__ if name not in text] == []
