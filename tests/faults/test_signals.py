"""Signals as log-outs, service managers and kill -9 send them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from monitoring.supervision.identity import run_identity
from monitoring.supervision.processes import marked_processes
from monitoring.supervision.programs import run_folder
from record.settings import Settings
from tests.faults.installation import Up, clean_environment, command, make_installation, up
from tests.waiting import wait_until

pytestmark = pytest.mark.faults

NOHUP = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh"]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return make_installation(tmp_path_factory.mktemp("signals"))


def test_up_below_nohup_outlives_the_log_out(settings: Settings) -> None:
    with up(settings, before=NOHUP) as running:
        running.wait_ready()
        wait_until(running.watcher, 60)
        running.process.send_signal(signal.SIGHUP)
        assert hangup_is_ignored(running.process.pid)
        assert running.predict().status_code == 200
        assert running.process.poll() is None
        assert running.stop() == 0


def test_up_without_nohup_ends_in_order_at_the_log_out(settings: Settings) -> None:
    with up(settings, log=settings.folder / "log-out.log") as running:
        running.wait_ready()
        running.process.send_signal(signal.SIGHUP)
        assert running.process.wait(40) == 0
        assert len(running.lines("stopped")) == 1


def test_train_below_nohup_outlives_the_log_out(tmp_path: Path) -> None:
    settings = make_installation(tmp_path)
    assert settings.path is not None
    rows = "\n".join(f"{place},AA,{'late' if place % 3 else 'on time'}" for place in range(300))
    (tmp_path / "history.csv").write_text(f"distance,carrier,arrival\n{rows}\n")
    with settings.path.open("a") as file:
        file.write('[data]\nsource = "history.csv"\n[retrain]\ntrials = 2\nfamilies = ["linear"]\n')
    process = subprocess.Popen(
        [*NOHUP, *command(settings, "train", "--json")],
        env=clean_environment(),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    wait_until(lambda: psutil.Process(process.pid).children(), 60, "the run's process")
    process.send_signal(signal.SIGHUP)
    out, _ = process.communicate(timeout=200)
    assert process.returncode in (0, 1), process.returncode
    assert b"succeeded" in out


def kill_up(running: Up) -> None:
    running.process.kill()


def kill_up_and_guard(running: Up) -> None:
    """Both at once, as an out-of-memory killer may: what is left is ended by the next start."""
    for child in psutil.Process(running.process.pid).children():
        if "monitoring.supervision.guard" in child.cmdline():
            child.kill()
    running.process.kill()


def kill_guard_then_up(running: Up) -> None:
    """The guard is put back within a look of the supervisor's."""
    (guard,) = [c for c in psutil.Process(running.process.pid).children() if "guard" in " ".join(c.cmdline())]
    guard.kill()
    wait_until(lambda: any(c.pid != guard.pid for c in guards(running)), 20, "a new guard")
    running.process.kill()


def guards(running: Up) -> list[psutil.Process]:
    children = psutil.Process(running.process.pid).children()
    return [c for c in children if c.status() != psutil.STATUS_ZOMBIE and "guard" in " ".join(c.cmdline())]


def terminate_up(running: Up) -> None:
    running.process.terminate()


def interrupt_twice(running: Up) -> None:
    running.process.send_signal(signal.SIGINT)
    running.process.send_signal(signal.SIGINT)


def abort_up(running: Up) -> None:
    running.process.send_signal(signal.SIGABRT)


def stop_then_kill_up(running: Up) -> None:
    running.process.send_signal(signal.SIGSTOP)
    running.process.kill()


@pytest.mark.parametrize(
    "end", [kill_up, kill_guard_then_up, terminate_up, interrupt_twice, abort_up, stop_then_kill_up]
)
def test_up_leaves_no_process_and_no_port_behind(settings: Settings, end: Callable[[Up], None]) -> None:
    with up(settings) as running:
        running.wait_ready()
        wait_until(running.watcher, 60)
        end(running)
        running.process.wait(60)
        wait_until(lambda: not marked_processes(run_identity(run_folder(settings))), 60, "every process ended")
        assert running.answers("/livez") is None


def test_what_up_and_its_guard_left_behind_is_ended_by_the_next_start(settings: Settings) -> None:
    with up(settings) as running:
        running.wait_ready()
        kill_up_and_guard(running)
        running.process.wait(20)
        left = {process.pid for process in marked_processes(run_identity(run_folder(settings)))}
        assert left
        with up(settings) as second:
            wait_until(lambda: not any(psutil.pid_exists(pid) for pid in left), 60, "what was left has ended")
            second.wait_ready()
            assert second.predict().status_code == 200


def test_proxies_of_the_environment_are_not_asked_for_this_machine(settings: Settings, tmp_path: Path) -> None:
    proxy = "http://127.0.0.1:9"  # nobody listens
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"), proxy)
    with up(settings, environment={**proxies, "no_proxy": "", "NO_PROXY": ""}) as running:
        running.wait_ready()
        wait_until(lambda: running.lines("ready"), 30, "`up` says that it is ready")
        check = health_check().replace("127.0.0.1:3000", f"127.0.0.1:{settings.serve.port}")
        arguments = [command(settings, "up")[0], "-c", check]
        assert subprocess.run(arguments, env=clean_environment(proxies), check=False).returncode == 0
        assert subprocess.run([*arguments[:2], check.replace("/livez", "/no-such")], check=False).returncode != 0


def health_check() -> str:
    """The program in the image's HEALTHCHECK; compose.yaml has the same."""
    root = Path(__file__).parents[2]
    (line,) = [line for line in (root / "Dockerfile").read_text().splitlines() if 'CMD ["python", "-c"' in line]
    code = line.split('"-c", "')[1].removesuffix('"]')
    assert code in (root / "compose.yaml").read_text()
    return code


def hangup_is_ignored(pid: int) -> bool:
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigIgn")]
    return bool(int(line.split()[1], 16) & 1 << (signal.SIGHUP - 1))


def test_a_signal_that_was_ignored_keeps_its_disposition() -> None:
    from record.signals import handle_signals

    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        assert handle_signals([signal.SIGUSR1], lambda *_: None) == {}
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
        os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
