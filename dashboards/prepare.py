"""Prepares what compose.yaml mounts: `make stack`. What is there already stays as it is."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

import bcrypt

from service.http.token_files import LIST, make_tokens

ROOT: Final = Path(__file__).parents[1]
KEEPERS: Final = ("prometheus", "alertmanager", "grafana")  # programs that keep data of their own
GUARDED: Final = ("prometheus", "alertmanager")  # programs that ask who calls: WEB_USER, and a password of their own
WEB_USER: Final = "ringside"
IMAGE_USER: Final = 1034  # the Dockerfile's; for whoever prepares as root, since nothing should run as that


def prepare(root: Path) -> Path:
    """The folder `stack` in `root`, with tokens and a password for one user's eyes; beside it, .env names that user.

    Containers run as whoever prepares: secrets in files are for their owner's eyes, and a mount keeps the owner.
    """
    user = (os.getuid(), os.getgid()) if os.getuid() else (IMAGE_USER, IMAGE_USER)
    folder = root / "stack"
    folder.mkdir(mode=0o700, exist_ok=True)
    for name in KEEPERS:
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    (folder / "web").mkdir(mode=0o700, exist_ok=True)
    tokens = folder / "tokens"
    if not (tokens / LIST).exists():
        make_tokens(tokens)
    _make_password(tokens / "grafana")
    for name in GUARDED:
        password = _make_password(tokens / f"{name}-web")
        _make_web_configuration(folder / "web" / f"{name}.yml", password)
    if not os.getuid():
        for path in (folder, *folder.rglob("*")):
            os.chown(path, *user)
    environment = root / ".env"
    if not environment.exists():
        environment.write_text(f"RINGSIDE_USER={user[0]}:{user[1]}\n")
    return folder


def _make_password(path: Path) -> str:
    """The password in that file, made if there is none."""
    if not path.exists():
        path.touch(0o600)
        path.write_text(secrets.token_urlsafe(24))
    return path.read_text()


def _make_web_configuration(path: Path, password: str) -> None:
    """Write the file that `--web.config.file` of Prometheus and Alertmanager names: a user and a bcrypt hash."""
    if path.exists():
        return
    path.touch(0o600)
    digest = bcrypt.hashpw(password.encode(), bcrypt.gensalt(10)).decode()
    path.write_text(f'basic_auth_users:\n  {WEB_USER}: "{digest}"\n')


if __name__ == "__main__":
    print(f"tokens, and passwords for Grafana, Prometheus and Alertmanager, are in {prepare(ROOT) / 'tokens'}")
    print("a problem's folder (ringside.toml, data) is ./problem, or where RINGSIDE_PROBLEM says; it needs to be yours")
    print("first model   docker compose run --rm ringside python -m ringside train")
    print("everything    docker compose up --detach --wait")
