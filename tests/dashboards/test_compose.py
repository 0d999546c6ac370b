"""compose.yaml, the programs' configurations and the folder that `make stack` prepares fit each other."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import bcrypt
import httpx
import pytest
import yaml

from dashboards.prepare import GUARDED, IMAGE_USER, KEEPERS, WEB_USER, prepare
from dashboards.runbook import PAGE
from record.settings import load_settings
from tests.dashboards.promtool import DASHBOARDS, need
from tests.dashboards.stack import guarded_program
from tests.service.serving import free_port

ROOT = DASHBOARDS.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PROMETHEUS = yaml.safe_load((DASHBOARDS / "prometheus" / "prometheus.yml").read_text())
ALERTMANAGER = yaml.safe_load((DASHBOARDS / "alertmanager" / "alertmanager.yml").read_text())


def mounts(service: str) -> dict[str, tuple[str, bool]]:
    """Path in the container → (path on the host, whether it is read only)."""
    held = {}
    for volume in SERVICES[service]["volumes"]:
        source, target, *mode = re.sub(r"\$\{\w+:-(.+?)\}", r"\1", volume).split(":")
        held[target] = (source, mode == ["ro"])
    return held


def mounted(service: str, path: str) -> Path:
    """Where a file that a program reads in its container lies in the checkout."""
    for target, (source, _) in mounts(service).items():
        if Path(path).is_relative_to(target):
            return ROOT / source / Path(path).relative_to(target)
    raise AssertionError(f"{service} has nothing mounted at {path}")


def port_of(service: str) -> str:
    """The one that it listens on in its container."""
    (published,) = SERVICES[service]["ports"]
    return str(published).split(":")[-1]


def test_everything_runs_as_one_plain_user_without_privileges() -> None:
    for name, service in SERVICES.items():
        assert service["user"].startswith("${RINGSIDE_USER:?"), name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["read_only"] is True, name
        assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & set(service), name


def test_no_program_can_take_the_machines_memory_or_its_process_table() -> None:
    for name, service in SERVICES.items():
        assert service["mem_limit"], name
        assert 0 < service["pids_limit"] <= 1024, name
        assert all("size=" in held for held in service["tmpfs"]), name


def test_images_are_not_those_with_published_advisories() -> None:
    """Prometheus below 3.11.3 (GHSA-vffh-x6r8-xx99, GHSA-fw8g-cg8f-9j28), Grafana below 13.2.2 (CVE-2026-15815)."""
    version = {
        name: tuple(map(int, service["image"].rpartition(":")[2].removeprefix("v").split(".")))
        for name, service in SERVICES.items()
    }
    assert version["prometheus"] >= (3, 13, 2)
    assert version["alertmanager"] >= (0, 34, 1)
    assert version["grafana"] >= (13, 2, 2)


def test_images_are_pinned_and_nothing_is_open_to_other_machines() -> None:
    for name, service in SERVICES.items():
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), name
        assert all(published.startswith("127.0.0.1:") for published in service["ports"]), name
    published = [held.rpartition(":")[0] for service in SERVICES.values() for held in service["ports"]]
    assert len(published) == len(set(published))


def test_every_program_has_a_health_check_at_its_own_port() -> None:
    for name, service in SERVICES.items():
        assert f"127.0.0.1:{port_of(name)}/" in " ".join(service["healthcheck"]["test"]), name


def test_what_is_mounted_is_in_the_checkout_or_prepared(tmp_path: Path) -> None:
    """And only data folders, and the problem's, can be written to."""
    prepare(tmp_path)
    for name in SERVICES:
        for target, (source, read_only) in mounts(name).items():
            if source == "./problem":  # the user's own
                continue
            made = source.startswith("./stack/")
            assert ((tmp_path if made else ROOT) / source).exists(), f"{name}: {source}"
            assert read_only == (source.removeprefix("./stack/") not in KEEPERS), f"{name}: {target}"


def test_the_prepared_secrets_are_for_one_user_who_is_not_root(tmp_path: Path) -> None:
    folder = prepare(tmp_path)
    user = os.getuid() or IMAGE_USER
    assert (tmp_path / ".env").read_text().startswith(f"RINGSIDE_USER={user}:")
    for file in (folder / "tokens").iterdir():
        held = file.stat()
        assert (stat.S_IMODE(held.st_mode), held.st_uid) == (0o600, user), file.name
    before = {file.name: file.read_text() for file in (folder / "tokens").iterdir()}
    prepare(tmp_path)
    assert {file.name: file.read_text() for file in (folder / "tokens").iterdir()} == before


def test_git_leaves_out_what_is_prepared() -> None:
    ignored = (ROOT / ".gitignore").read_text().split()
    assert {"/stack/", "/.env", "/problem/"} <= set(ignored)


def test_prometheus_and_alertmanager_know_the_prepared_passwords_by_their_hash_alone(tmp_path: Path) -> None:
    folder = prepare(tmp_path)
    for name in GUARDED:
        (option,) = [held for held in SERVICES[name]["command"] if held.startswith("--web.config.file=")]
        file = mounted(name, option.partition("=")[2])
        assert file == ROOT / "stack" / "web" / f"{name}.yml"
        held = (folder / "web" / f"{name}.yml").read_text()
        password = (folder / "tokens" / f"{name}-web").read_text()
        assert password not in held
        users = yaml.safe_load(held)["basic_auth_users"]
        assert list(users) == [WEB_USER]
        assert bcrypt.checkpw(password.encode(), users[WEB_USER].encode())
        assert stat.S_IMODE((folder / "web" / f"{name}.yml").stat().st_mode) == 0o600


def test_whoever_calls_prometheus_or_alertmanager_is_given_the_password() -> None:
    (alertmanagers,) = PROMETHEUS["alerting"]["alertmanagers"]
    source = yaml.safe_load((DASHBOARDS / "grafana/provisioning/datasources/prometheus.yml").read_text())
    (grafana,) = source["datasources"]
    assert grafana["basicAuth"] is True
    read = re.fullmatch(r"\$__file\{(.+)\}", grafana["secureJsonData"]["basicAuthPassword"])
    assert read is not None
    clients = {name: yaml.safe_load((DASHBOARDS / name / "client.yml").read_text())["basic_auth"] for name in GUARDED}
    told = [
        ("prometheus", alertmanagers["basic_auth"], "alertmanager-web"),
        ("grafana", {"username": grafana["basicAuthUser"], "password_file": read[1]}, "prometheus-web"),
        *((name, clients[name], f"{name}-web") for name in GUARDED),
    ]
    for caller, given, file in told:
        assert given["username"] == WEB_USER, caller
        assert mounted(caller, given["password_file"]) == ROOT / "stack" / "tokens" / file, caller
    for name in GUARDED:
        assert f"--http.config.file=/etc/{name}/client.yml" in SERVICES[name]["healthcheck"]["test"]


@pytest.mark.parametrize("name", GUARDED)
def test_without_its_password_a_real_one_answers_nobody(tmp_path: Path, name: str) -> None:
    """Debian's program with the prepared web configuration, and the container's own health check."""
    folder = prepare(tmp_path)
    port = free_port()
    web = folder / "web" / f"{name}.yml"
    with guarded_program(name, tmp_path, web, port):
        url = f"http://127.0.0.1:{port}"
        paths = ("/", "/-/ready", "/-/healthy", "/metrics", "/api/v2/alerts", "/api/v1/query?query=up")
        password = (folder / "tokens" / f"{name}-web").read_text()
        for path in paths:
            assert httpx.get(url + path).status_code == 401, path
            assert httpx.get(url + path, auth=(WEB_USER, "guess")).status_code == 401, path
            assert httpx.get(url + path, auth=(WEB_USER, password)).status_code != 401, path


def test_the_health_check_gets_past_the_password_and_nobody_without_it_does(tmp_path: Path) -> None:
    """Debian's amtool knows the option; its promtool is older than `check ready`, which Prometheus' image has."""
    folder, name, port = prepare(tmp_path), "alertmanager", free_port()
    client = tmp_path / "client.yml"
    held = yaml.safe_load((DASHBOARDS / name / "client.yml").read_text())
    check = [
        part.replace(f"/etc/{name}/client.yml", str(client)).replace(f":{port_of(name)}/", f":{port}/")
        for part in SERVICES[name]["healthcheck"]["test"][1:]
    ]
    with guarded_program(name, tmp_path, folder / "web" / f"{name}.yml", port):
        for file, healthy in ((f"{name}-web", True), ("operator", False)):
            held["basic_auth"]["password_file"] = str(folder / "tokens" / file)
            client.write_text(yaml.safe_dump(held))
            done = subprocess.run([need(check[0]), *check[1:]], capture_output=True, check=False)
            assert (done.returncode == 0) == healthy, done.stderr


def test_ringside_starts_with_these_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On every address of its container, and so only with tokens: those that were made."""
    folder = prepare(tmp_path)
    (tmp_path / "ringside.toml").write_text('[problem]\ntask = "regression"\ntarget = "y"\n')
    environment = SERVICES["ringside"]["environment"]
    tokens = environment["RINGSIDE_SERVE__TOKENS"]
    assert mounted("ringside", tokens) == ROOT / "stack" / "tokens" / "tokens.toml"
    for name, value in environment.items():
        if name.startswith("RINGSIDE_"):
            monkeypatch.setenv(name, str(folder / "tokens" / "tokens.toml") if value == tokens else value)
    settings = load_settings(tmp_path / "ringside.toml")
    settings.serve.require_tokens()
    assert (settings.serve.host, str(settings.serve.port)) == ("0.0.0.0", port_of("ringside"))
    assert {token.name for token in settings.serve.read_tokens()} >= {"prometheus", "alertmanager"}


def test_the_programs_find_each_other() -> None:
    """Each address in a configuration is a service's name and its port."""
    (job,) = PROMETHEUS["scrape_configs"]
    (webhook,) = ALERTMANAGER["receivers"][0]["webhook_configs"]
    source = yaml.safe_load((DASHBOARDS / "grafana/provisioning/datasources/prometheus.yml").read_text())
    told = [
        *job["static_configs"][0]["targets"],
        *PROMETHEUS["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"],
        webhook["url"].removeprefix("http://").partition("/")[0],
        source["datasources"][0]["url"].removeprefix("http://"),
    ]
    assert told == [f"{name}:{port_of(name)}" for name in ("ringside", "alertmanager", "ringside", "prometheus")]


def test_the_programs_find_their_files() -> None:
    (job,) = PROMETHEUS["scrape_configs"]
    (webhook,) = ALERTMANAGER["receivers"][0]["webhook_configs"]
    stack = ROOT / "stack" / "tokens"
    read = job["authorization"]["credentials_file"]
    assert mounted("prometheus", read) == stack / "prometheus"
    alert = webhook["http_config"]["authorization"]["credentials_file"]
    assert mounted("alertmanager", alert) == stack / "alertmanager"
    password = SERVICES["grafana"]["environment"]["GF_SECURITY_ADMIN_PASSWORD__FILE"]
    assert mounted("grafana", password) == stack / "grafana"
    for name, option in (("prometheus", "--config.file="), ("alertmanager", "--config.file=")):
        (file,) = [held.removeprefix(option) for held in SERVICES[name]["command"] if held.startswith(option)]
        assert mounted(name, file).is_file()
    assert (mounted("prometheus", "/etc/prometheus") / PROMETHEUS["rule_files"][0]).is_file()
    templates = "--web.console.templates="
    (consoles,) = [held.removeprefix(templates) for held in SERVICES["prometheus"]["command"] if templates in held]
    assert (mounted("prometheus", consoles) / PAGE.name).is_file()
    provider = yaml.safe_load((DASHBOARDS / "grafana/provisioning/dashboards/ringside.yml").read_text())
    boards = mounted("grafana", provider["providers"][0]["options"]["path"])
    assert len(list(boards.glob("*.json"))) == 4


def test_the_image_holds_what_compose_expects_of_it() -> None:
    """The port, the problem's folder, the program, and nothing left out of its context that it copies."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert f"EXPOSE {port_of('ringside')}" in dockerfile
    assert "RINGSIDE_CONFIG=/problem/ringside.toml" in dockerfile
    assert "/problem" in mounts("ringside")
    assert f"--uid {IMAGE_USER}" in dockerfile
    assert re.search(r"^USER (?!root)", dockerfile, re.MULTILINE)
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE)
    sources = {source for line in copied for source in line.split()}
    assert sources <= allowed
    assert all((ROOT / source).exists() for source in sources)


# Docker's client as far as `make stack` calls it: what is to run in the image runs in the tests' own environment.
DOCKER = """#!/bin/sh
case "$1" in
  compose) exit ${NO_COMPOSE:-0} ;;
  build) echo built >> "$CALLS" ;;
  run) echo "$*" >> "$CALLS"; while [ "$1" != python ]; do shift; done; shift; exec "$PYTHON_OF_IMAGE" "$@" ;;
esac
"""


def make_stack(folder: Path, **surroundings: str) -> subprocess.CompletedProcess[str]:
    """`make stack` in a checkout without an environment, on a host without Python."""
    checkout, programs = folder / "checkout", folder / "bin"
    programs.mkdir()
    for name in ("dashboards", "record", "service"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Makefile", checkout)
    (programs / "docker").write_text(DOCKER)
    (programs / "docker").chmod(0o755)
    for name in ("make", "sh", "id", "echo"):
        (programs / name).symlink_to(shutil.which(name) or name)
    surroundings |= {"PATH": str(programs), "CALLS": str(folder / "calls"), "PYTHON_OF_IMAGE": sys.executable}
    command = [str(programs / "make"), "stack"]
    return subprocess.run(command, cwd=checkout, env=surroundings, capture_output=True, text=True, check=False)


def test_the_stack_is_prepared_without_python_on_the_host(tmp_path: Path) -> None:
    """In the image, as whoever calls, without a network; the image holds what that needs."""
    done = make_stack(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    checkout = tmp_path / "checkout"
    assert (checkout / ".env").read_text().startswith("RINGSIDE_USER=")
    assert (checkout / "stack" / "tokens" / "tokens.toml").exists()
    assert not (checkout / ".venv").exists()
    run = (tmp_path / "calls").read_text().splitlines()[-1]
    for part in (f"--user {os.getuid()}:{os.getgid()}", "--network none", f"--volume {checkout}:/checkout"):
        assert part in run
    assert SERVICES["ringside"]["image"] in run
    assert "\nbcrypt==" in (ROOT / "requirements-run.lock").read_text()


def test_an_old_compose_is_told_before_anything_is_made(tmp_path: Path) -> None:
    """Compose 1 does not read compose.yaml; the page says so, too."""
    done = make_stack(tmp_path, NO_COMPOSE="1")
    assert done.returncode != 0
    assert "Compose v2" in done.stdout
    assert not (tmp_path / "calls").exists()
    assert "Compose v2" in (ROOT / "docs" / "monitoring.md").read_text()
    assert "Compose v2" in (ROOT / "compose.yaml").read_text()


def compose_client() -> list[str]:
    """`docker compose`; the test is skipped where Docker's client, or that plugin of it, is not installed."""
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("Docker's client with Compose v2 is not installed")
    return [docker, "compose"]


@pytest.mark.docker
def test_docker_compose_accepts_it() -> None:
    """Its client is enough; an engine is not needed for that."""
    client = compose_client()
    command = [*client, "--file", str(ROOT / "compose.yaml"), "config", "--quiet"]
    environment = {**os.environ, "RINGSIDE_USER": "1034:1034"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
