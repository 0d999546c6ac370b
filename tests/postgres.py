"""A real PostgreSQL for the tests, from the system's package, on a free port of loopback."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.waiting import wait_until


class PostgresServer:
    def __init__(self, port: int, user: str) -> None:
        self.port = port
        self.user = user
        self._made = 0

    def url(self, name: str) -> str:
        return f"postgresql://{self.user}@127.0.0.1:{self.port}/{name}"

    def create(self, template: str = "template1", *, search_path: str = "ringside") -> str:
        """The name of a new database, a copy of `template`. Where tests look for tables is `search_path`."""
        self._made += 1
        name = f"ringside_{self._made}"
        self.administrate(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        self.set_search_path(name, search_path)
        return name

    def set_search_path(self, name: str, search_path: str) -> None:
        """Where sessions of that database look for unqualified names from now on; `''`: nowhere."""
        self.administrate(f'ALTER DATABASE "{name}" SET search_path TO {search_path}')

    def drop(self, name: str) -> None:
        self.administrate(f'DROP DATABASE "{name}" WITH (FORCE)')

    def promote(self) -> None:
        """Makes a standby a primary."""
        self.administrate("SELECT pg_promote()")

    def refuse_writes(self) -> None:
        """As an administrator does with a primary that has lost its role; its connections stay."""
        self.administrate("ALTER SYSTEM SET default_transaction_read_only TO on")
        self.administrate("SELECT pg_reload_conf()")
        wait_until(self._read_only, 30, "the server refuses writes")

    def _read_only(self) -> bool:
        with psycopg.connect(self.url("postgres")) as connection:
            return connection.execute("SHOW transaction_read_only").fetchone() == ("on",)

    def alive(self) -> bool:
        try:
            self.administrate("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def administrate(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())


def binaries() -> Path | None:
    """The folder of the newest installed PostgreSQL, or None."""
    folders = [p.parent for p in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if folders:
        return max(folders, key=lambda folder: int(folder.parent.name))
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def account() -> str | None:
    """Who the server runs as: PostgreSQL refuses root, so that root hands over to the package's own user."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in names), None)


@contextmanager
def running(programs: Path, user: str) -> Iterator[PostgresServer]:
    """A server with an empty cluster, gone at the end of the block, or with this process."""
    folder = Path(tempfile.mkdtemp(prefix="ringside-postgres-"))
    data = folder / "data"
    server = PostgresServer(free_port(), user)
    try:
        as_user: dict[str, str] = {}
        if os.geteuid() == 0:
            shutil.chown(folder, user)
            as_user = {"user": user}
        initdb = [programs / "initdb", "-D", data, "-U", user, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"]
        subprocess.run(initdb, cwd=folder, check=True, capture_output=True, **as_user)  # type: ignore[call-overload]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                _command(programs, data, folder, server.port), cwd=folder, stdout=log, stderr=log, **as_user
            )  # type: ignore[call-overload]
        try:
            wait_until(lambda: process.poll() is not None or server.alive(), 30, "PostgreSQL accepts connections")
            if process.poll() is not None:
                raise RuntimeError(f"PostgreSQL ended at once: {(folder / 'log').read_text()}")
            yield server
        finally:
            process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown
            process.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def standby(programs: Path, user: str, primary: PostgresServer) -> Iterator[PostgresServer]:
    """A server that follows another one until `promote` is called."""
    folder = Path(tempfile.mkdtemp(prefix="ringside-standby-"))
    data = folder / "data"
    server = PostgresServer(free_port(), user)
    as_user: dict[str, str] = {}
    if os.geteuid() == 0:
        shutil.chown(folder, user)
        as_user = {"user": user}
    backup = [programs / "pg_basebackup", "-d", primary.url("postgres"), "-D", data, "-R", "-X", "stream", "-c", "fast"]
    try:
        subprocess.run(backup, cwd=folder, check=True, capture_output=True, **as_user)  # type: ignore[call-overload]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                _command(programs, data, folder, server.port), cwd=folder, stdout=log, stderr=log, **as_user
            )  # type: ignore[call-overload]
        try:
            wait_until(lambda: process.poll() is not None or server.alive(), 60, "the standby accepts connections")
            yield server
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _command(programs: Path, data: Path, folder: Path, port: int) -> list[str]:
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": folder,
        "fsync": "off",  # a test's database need not outlive the machine
        "max_connections": 60,
        "shared_buffers": "32MB",
    }
    # A test run that is killed takes its server along.
    guard = ["setpriv", "--pdeathsig", "INT"] if shutil.which("setpriv") else []
    options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
    return [*guard, str(programs / "postgres"), "-D", str(data), *options]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
