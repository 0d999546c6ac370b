"""What the processes of `ringside up` open on the machine: one port, files for their owner, and no way out.

One installation for the whole file, started as somebody does who has prepared nothing, and traced by strace: it trains
its first model, answers, explains, trains a challenger and shadows it, so that every kind of child has been there.
"""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from record.process import NO_TELEMETRY
from tests.hostile.installation import Installation, bare_environment, up, write_installation
from tests.hostile.sockets import addresses, umask
from tests.waiting import wait_until

pytestmark = [pytest.mark.hostile, pytest.mark.timeout(600)]
CHILDREN = {
    "supervisor": "ringside",
    "guard": "monitoring.supervision.guard",
    "BentoML": "bentoml serve",
    "worker": "_bentoml_impl.worker.service",
    "watcher": "-m monitoring",
    "retrain job": "-m retrain",
    "shadow": "-m monitoring.shadow",
    "explanation": "service.explain.explainer",
}
TRACED = "trace=openat,connect,sendto,sendmsg,sendmmsg"
QUEUE = "DeveloperTools"  # where onnxruntime keeps what it will send: ~/.cache/Microsoft/DeveloperTools


@dataclass
class Story:
    """What was seen of an installation while it lived."""

    installation: Installation
    trace: Path
    listening: set[tuple[str, str]] = field(default_factory=set)  # program, address
    environments: dict[str, dict[str, str]] = field(default_factory=dict)  # program → at its start
    umasks: dict[str, str] = field(default_factory=dict)

    def look(self) -> None:
        for process in self.installation.processes():
            command = self.installation.commands[process.pid]
            try:
                self.listening |= {(command, address) for address in addresses(process)}
                self.environments[command] = process.environ()
                self.umasks[command] = umask(process.pid)
            except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
                continue

    def wait(self, program: str) -> None:
        """Until a process of that program has been looked at."""
        wait_until(lambda: self._looked(program), 240, f"a process of {program}", every=0.05)

    def _looked(self, program: str) -> bool:
        self.look()
        return any(program in command for command in self.environments)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed (Debian: apt-get install strace)")
    folder = tmp_path_factory.mktemp("installation")
    port = write_installation(folder)
    trace = folder / "trace"
    before = ["strace", "-f", "-qq", "--seccomp-bpf", "-e", TRACED, "-e", "signal=none", "-o", str(trace)]
    with up(folder, port, before) as installation:
        story = Story(installation, trace)
        for _ in range(2):
            installation.call("POST", "/retrain", {"reason": "there is no model yet"}).raise_for_status()
            story.wait(CHILDREN["retrain job"])
            wait_until(lambda: ended(installation), 300, "the run ends", every=0.2)
        wait_until(lambda: installation.answers("/readyz"), 60, "a champion is loaded")
        records = [{"distance": 0.1 * n, "carrier": "AA"} for n in range(50)]
        ids = [f"order-{n}" for n in range(50)]
        assert installation.call("POST", "/predict", {"records": records, "ids": ids}).status_code == 200
        story.wait(CHILDREN["shadow"])
        explained = subprocess.Popen(
            [sys.executable, "-c", f"import httpx; httpx.get('{installation.url}/explain?id=order-7', timeout=60)"]
        )
        story.wait(CHILDREN["explanation"])
        assert explained.wait(60) == 0
        story.look()
        yield story


def ended(installation: Installation) -> bool:
    run = installation.call("GET", "/status").json()["run"]
    assert run is None or run["state"] != "failed", run
    return run is not None and run["state"] == "succeeded"


def test_every_kind_of_process_was_there(story: Story) -> None:
    for name, program in CHILDREN.items():
        assert any(program in command for command in story.environments), name


def test_nothing_listens_but_the_service_at_its_port(story: Story) -> None:
    """Neither BentoML's supervisor nor any child: whoever else is on the machine could speak to it."""
    assert {address for _, address in story.listening} == {f"127.0.0.1:{story.installation.port}"}


def test_every_process_begins_with_telemetry_switched_off_and_a_private_umask(story: Story) -> None:
    for command, environment in story.environments.items():
        assert environment.items() >= NO_TELEMETRY.items(), command
        assert story.umasks[command] == "0077", command


def test_no_other_user_can_read_a_file_or_enter_a_folder(story: Story) -> None:
    """The record, its write-ahead log, logs, models, reports, metrics; started under the usual umask, 022."""
    kept = story.installation.folder / ".ringside"
    made = [kept, *kept.rglob("*"), story.installation.folder / "logs", *(story.installation.folder / "logs").iterdir()]
    assert {"record.db", "record.db-wal", "model.onnx", "report.html", "watcher.log"} <= {path.name for path in made}
    for path in made:
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


def test_no_process_keeps_what_onnxruntime_would_send_or_looks_up_a_name(story: Story) -> None:
    calls = story.trace.read_text(errors="replace")
    assert calls.count("model.onnx") > 5, "the trace sees what is opened"
    assert QUEUE not in calls
    assert not (story.installation.folder / ".cache" / "Microsoft").exists()
    assert foreign(calls) == []


def test_the_trace_would_have_seen_it(tmp_path: Path, story: Story) -> None:
    """The same library in the same way, told nothing: it opens its queue."""
    (model,) = list(story.installation.folder.glob(".ringside/artifacts/v1/model.onnx"))
    code = f"import onnxruntime; onnxruntime.InferenceSession({str(model)!r})"
    trace = tmp_path / "trace"
    subprocess.run(
        ["strace", "-f", "-qq", "-e", TRACED, "-o", str(trace), "unshare", "--net", sys.executable, "-c", code],
        env=bare_environment(tmp_path),
        check=True,
        timeout=120,
    )
    assert QUEUE in trace.read_text(errors="replace")


def foreign(calls: str) -> list[str]:
    """Calls that speak to an address other than loopback; a name server's is one, wherever it is."""
    inet = re.findall(r"^.*(?:sin_port|sin6_port).*$", calls, re.MULTILINE)
    own = re.compile(r'inet_addr\("127\.|inet_pton\(AF_INET6, "::1"')
    return [call for call in inet if not own.search(call) or "htons(53)" in call]
