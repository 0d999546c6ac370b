"""What keeps `ringside up` from starting: one sentence and exit code 2, never a traceback or a loop of restarts."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from record.configuration.sections import ServeSettings
from record.errors import SettingsError
from record.settings import Settings, load_settings
from tests.faults.installation import make_installation, run_command, up
from tests.service.serving import free_port


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_installation(tmp_path)


def refused(ended: subprocess.CompletedProcess[str]) -> str:
    """The one sentence on standard error."""
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    (sentence,) = [line for line in ended.stderr.splitlines() if not line.startswith("{")]
    return sentence


def change(settings: Settings, old: str, new: str) -> Settings:
    assert settings.path is not None
    text = settings.path.read_text()
    assert old in text
    settings.path.write_text(text.replace(old, new))
    return load_settings(settings.path)


NOBODY = 65534


def bounded() -> list[str]:
    """A command line's beginning: root as any other user, by what it may read and write."""
    names = ("dac_override", "dac_read_search", "fowner", "chown")
    before = ["setpriv", "--bounding-set", ",".join(f"-{name}" for name in names)]
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root, and setpriv (util-linux), to see what a user may not write")
    return before


def give(folder: Path, user: int) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user, user)


def test_a_taken_port_is_one_sentence(settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", settings.serve.port))
        taken.listen(1)
        sentence = refused(run_command(settings, "up"))
    assert f"serve.port: {settings.serve.port} on 127.0.0.1 cannot be listened on: Address already in use" in sentence


def test_a_host_that_has_no_address_is_one_sentence(settings: Settings) -> None:
    change(settings, f"port = {settings.serve.port}", f'port = {settings.serve.port}\nhost = "no-such-name.invalid"')
    sentence = refused(run_command(settings, "up"))
    assert "serve.host" in sentence
    assert "expected an IP address" in sentence


@pytest.mark.parametrize("host", ["http://127.0.0.1", "127.0.0.1:3000", "a b", "x" * 300])
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(SettingsError, match=r"serve\.host: .*expected an IP address") as refusal:
        ServeSettings(host=host).address()
    assert "\n" not in refusal.value.message


def test_an_address_of_another_machine_is_one_sentence(settings: Settings) -> None:
    token = 'tokens = [{name = "a", roles = ["read"], sha256 = "' + "0" * 64 + '"}]'
    change(settings, f"port = {settings.serve.port}", f'port = {settings.serve.port}\nhost = "192.0.2.1"\n{token}')
    assert "192.0.2.1 cannot be listened on" in refused(run_command(settings, "up"))


@pytest.mark.parametrize(
    ("host", "address"),
    [("localhost", "127.0.0.1"), ("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("0:0:0:0:0:0:0:1", "::1")],
)
def test_a_host_is_resolved_to_one_address(host: str, address: str) -> None:
    serve = ServeSettings(host=host)
    assert serve.address() == address
    assert serve.loopback


def test_a_name_is_as_open_as_the_address_that_it_resolves_to(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(host: str, *_: object, **__: object) -> list[object]:
        v6 = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 0, 0, 0))
        v4 = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7" if host == "public" else "127.0.1.1", 0))
        return [v6, v4]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert ServeSettings(host="public").address() == "192.0.2.7"
    assert not ServeSettings(host="public").loopback
    assert ServeSettings(host="mine").loopback
    with pytest.raises(SettingsError, match=r"serve\.tokens"):
        ServeSettings(host="public").require_tokens()


@pytest.mark.faults
def test_a_service_on_localhost_answers(tmp_path: Path) -> None:
    settings = make_installation(tmp_path, 'host = "localhost"')
    with up(settings) as running:
        running.wait_ready()
        assert running.predict().status_code == 200


@pytest.mark.parametrize(
    "url", ["postgresql://somebody:secret@127.0.0.1:{port}/record", "postgresql://127.0.0.1:{port}/record?password=x"]
)
def test_a_database_that_is_away_is_one_sentence_without_its_password(settings: Settings, url: str) -> None:
    assert settings.path is not None
    with settings.path.open("a") as file:
        file.write(f'[store]\ndatabase = "{url.format(port=free_port())}"\n')
    sentence = refused(run_command(settings, "up"))
    assert "store.database: postgresql://" in sentence
    assert "127.0.0.1" in sentence
    assert "cannot be used" in sentence
    assert "secret" not in sentence


@pytest.mark.parametrize("part", [".ringside", ".ringside/artifacts"])
def test_a_folder_that_cannot_be_written_is_one_sentence(settings: Settings, part: str) -> None:
    before = bounded()
    give(settings.folder / part, NOBODY)
    sentence = refused(run_command(settings, "up", before=before))
    assert f"{settings.folder / part}" in sentence
    assert "cannot be written: Permission denied" in sentence


def test_a_record_that_cannot_be_written_is_one_sentence(settings: Settings) -> None:
    before = bounded()
    for name in ("record.db", "record.db.lock"):
        give(settings.folder / ".ringside" / name, NOBODY)
    sentence = refused(run_command(settings, "up", before=before))
    assert "store.database" in sentence
    assert "record.db" in sentence


def test_a_machine_without_a_folder_for_temporary_files_is_one_sentence(settings: Settings) -> None:
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("a read-only /tmp of its own needs root and mount namespaces")
    read_only = (
        "for d in /tmp /var/tmp /usr/tmp; do mount --bind $d $d && mount -o remount,bind,ro $d; done 2>/dev/null"
    )
    script = f'mount --bind {settings.folder} /mnt; {read_only}; mount --move /mnt {settings.folder}; exec "$@"'
    before = ["unshare", "-m", "sh", "-c", script, "sh"]
    sentence = refused(run_command(settings, "up", before=before, cwd="/proc"))
    assert "no folder for temporary files can be written" in sentence
