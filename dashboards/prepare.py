"""Prepares what compose.yaml mounts: `make stack`. What is there already stays as it is."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from service.http.token_files import LIST, make_tokens

ROOT: Final = Path(__file__).parents[1]
KEEPERS: Final = ("prometheus", "alertmanager", "grafana")  # programs that keep data of their own
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
    tokens = folder / "tokens"
    if not (tokens / LIST).exists():
        make_tokens(tokens)
    password = tokens / "grafana"
    if not password.exists():
        password.touch(0o600)
        password.write_text(secrets.token_urlsafe(24))
    if not os.getuid():
        for path in (folder, *folder.rglob("*")):
            os.chown(path, *user)
    environment = root / ".env"
    if not environment.exists():
        environment.write_text(f"RINGSIDE_USER={user[0]}:{user[1]}\n")
    return folder


if __name__ == "__main__":
    print(f"tokens and a password for Grafana are in {prepare(ROOT) / 'tokens'}")
    print("a problem's folder (ringside.toml, data) is ./problem, or where RINGSIDE_PROBLEM says; it needs to be yours")
    print("first model   docker compose run --rm ringside python -m ringside train")
    print("everything    docker compose up --detach --wait")
