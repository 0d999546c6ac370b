"""Connections that are idle between two POSTs, for about as long as they are kept: clients of other makers lose none.

A POST that is on its way when its connection is closed fails in most clients: they must not ask again by themselves.
The service says for how long it keeps a connection, and keeps it two seconds longer.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from record.record import open_record
from service.http.connection_bounds import KEEP_ALIVE_GRACE_SECONDS
from tests.hostile.proxies import ENVIRONMENT, NGINX, PROXIES, Proxy, proxied
from tests.record.models import record_of, register_model
from tests.service.serving import LiveService, live_service, wait_ready, write_config

pytestmark = pytest.mark.hostile

CLIENTS: Final = Path(__file__).with_name("clients")
BODY: Final = json.dumps({"records": [record_of()]})
KEPT: Final = 1.0  # seconds, as the service says
CLOSED: Final = KEPT + KEEP_ALIVE_GRACE_SECONDS
ROUNDS: Final = 2
# Around what the service says, for a client that goes by it; and for one that does not, up to the end and behind it.
AROUND: Final = [KEPT + step / 50 for step in range(-25, 26)]
UNTIL_THE_END: Final = [CLOSED - 1.5 + step / 20 for step in range(25)]
BEHIND_THE_END: Final = [CLOSED + 1.5 + step / 20 for step in range(5)]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    folder = tmp_path_factory.mktemp("kept")
    settings = write_config(folder, f'keep_alive = "{KEPT:g}s"')
    record = open_record(settings)
    register_model(record, as_champion=True)
    record.close()
    with live_service(settings, folder) as live:
        wait_ready(live)
        yield live


@pytest.fixture(scope="module")
def go_client(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Go's own client, built from its source without any other package."""
    go = shutil.which("go", path=f"{ENVIRONMENT}{os.pathsep}{os.environ['PATH']}")
    if go is None:
        pytest.skip("Go is not installed: `make proxies`")
    program = tmp_path_factory.mktemp("go") / "client"
    cache = ENVIRONMENT.parent / "go-cache"
    surroundings = {**os.environ, "GOCACHE": str(cache), "GOTOOLCHAIN": "local", "GOPROXY": "off", "CGO_ENABLED": "0"}
    command = [go, "build", "-o", str(program), str(CLIENTS / "client.go")]
    built = subprocess.run(command, env=surroundings, check=False, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return str(program)


def outcomes(command: Sequence[str]) -> dict[str, Any]:
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def numbers(times: Sequence[float]) -> list[str]:
    return [f"{each:.3f}" for each in times]


@pytest.mark.parametrize(
    ("keeps", "times"),
    [(KEPT, AROUND), (0, UNTIL_THE_END), (0, BEHIND_THE_END)],
    ids=["around what was said", "until the end", "behind the end"],
)
def test_go_loses_no_post(service: LiveService, go_client: str, keeps: float, times: list[float]) -> None:
    command = [go_client, f"{service.url}/predict", BODY, f"{keeps:g}", "", str(ROUNDS), *numbers(times)]
    assert outcomes(command) == {"answered": len(times) * (ROUNDS + 1), "faults": []}


def test_go_asks_again_where_it_may(service: LiveService, go_client: str) -> None:
    """At the very moment of the end too: a POST with an idempotency key is sent over a new connection."""
    times = [CLOSED - 0.1 + step / 50 for step in range(60)]
    command = [go_client, f"{service.url}/predict", BODY, "0", "key", str(ROUNDS), *numbers(times)]
    assert outcomes(command) == {"answered": len(times) * (ROUNDS + 1), "faults": []}


@pytest.mark.parametrize(
    ("keeps", "times"),
    [(round(KEPT), AROUND), (1200, UNTIL_THE_END), (1200, BEHIND_THE_END)],
    ids=["around what was said", "until the end", "behind the end"],
)
def test_java_loses_no_post(service: LiveService, keeps: int, times: list[float]) -> None:
    """With its defaults it offers an upgrade to HTTP/2 with each: ignored, and served whole."""
    java = shutil.which("java")
    if java is None or shutil.which("javac") is None:
        pytest.skip("Java is not installed: root, for Debian's packages")
    options = ["-Xmx256m", f"-Djdk.httpclient.keepalive.timeout={keeps}"]
    command = [java, *options, str(CLIENTS / "Client.java"), f"{service.url}/predict", BODY, str(ROUNDS)]
    assert outcomes([*command, *numbers(times)]) == {"answered": len(times) * (ROUNDS + 1), "faults": []}


def kept_by_nginx(seconds: float) -> Proxy:
    (nginx,) = (proxy for proxy in PROXIES if proxy.name == "nginx")
    text = NGINX.replace("keepalive 16;", f"keepalive 16; keepalive_timeout {seconds:g}s;")
    assert text != NGINX
    return Proxy("nginx", nginx.program, {"nginx.conf": text}, nginx.command)


@pytest.mark.parametrize(
    ("keeps", "pauses"),
    [
        (KEPT, [KEPT + step / 10 for step in range(-3, 4)]),
        (60.0, [CLOSED - 0.5, CLOSED - 0.3, CLOSED + 1.5]),
    ],
    ids=["around what was said", "until the end, and behind it"],
)
def test_behind_nginx_no_post_is_lost(service: LiveService, tmp_path: Path, keeps: float, pauses: list[float]) -> None:
    """Sixteen at once, a pause in which all of nginx's connections are idle, and again."""
    found: Counter[str] = Counter()
    with proxied(kept_by_nginx(keeps), service.port, tmp_path) as port:
        for pause in [0.0, *pauses]:
            time.sleep(pause)
            callers = [threading.Thread(target=lambda: found.update([status_of_a_post(port)])) for _ in range(16)]
            for caller in callers:
                caller.start()
            for caller in callers:
                caller.join()
    assert found == {"200": 16 * (len(pauses) + 1)}


def status_of_a_post(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", "/predict", BODY, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        return str(answer.status)
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    finally:
        connection.close()


def test_curl_that_offers_http_2_is_answered(service: LiveService, tmp_path: Path) -> None:
    """Twice over one connection; the body is longer than its first segment."""
    curl = shutil.which("curl")
    if curl is None or "HTTP2" not in subprocess.run([curl, "-V"], capture_output=True, text=True, check=True).stdout:
        pytest.skip("no curl with HTTP/2")
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"records": [record_of(note="x" * 5000)] * 20}))
    url = f"{service.url}/predict"
    command = [curl, "-sS", "--http2", "-w", "%{http_code} %{http_version} %{num_connects}\n", "-o", "/dev/null"]
    data = ["-H", "Content-Type: application/json", "--data-binary", f"@{body}", url]
    ended = subprocess.run(
        [*command, *data, "--next", *command[1:], *data], check=False, capture_output=True, text=True
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("200 1.1 1\n200 1.1 0\n", "", 0)


def test_ab_keeps_its_connections(service: LiveService, tmp_path: Path) -> None:
    """ApacheBench speaks HTTP/1.0 with `Connection: Keep-Alive`."""
    program = shutil.which("ab")
    if program is None:
        pytest.skip("ab is not installed: root, for Debian's apache2-utils")
    body = tmp_path / "body.json"
    body.write_text(BODY)
    url = f"http://127.0.0.1:{service.port}/predict"
    command = [program, "-k", "-n", "300", "-c", "8", "-l", "-p", str(body), "-T", "application/json", url]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    counts = {name: int(count) for name, count in re.findall(r"^([\w\- ]+): +(\d+)", ended.stdout, re.MULTILINE)}
    assert (counts["Complete requests"], counts["Failed requests"]) == (300, 0)
    assert counts["Keep-Alive requests"] == 300
    assert "Non-2xx responses" not in counts
