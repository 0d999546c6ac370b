"""`ringside demo`: ten months of flights through the whole loop, live, in about five minutes."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import uvloop
from rich.console import Console
from rich.table import Table

from examples.flights.connection import Connections
from examples.flights.dataset import (
    REPLAY_FROM,
    Flight,
    package_folder,
    read_flights,
    replay_flights,
    training_rows,
)
from examples.flights.picture import draw, write_page
from examples.flights.replay import Replay, ReplayError, Tally
from examples.flights.scoring import judge
from examples.flights.summary import HEADS, Summary, promises, summarise
from examples.flights.timeline import Timeline
from monitoring.supervision.programs import programs, run_folder
from monitoring.supervision.supervisor import Supervisor
from record.errors import Conflict, DataError, SettingsError
from record.record import Record, open_record
from record.settings import Settings, load_settings
from retrain.child import THREADS, run_supervised
from retrain.progress import progress_shown

SABOTEUR_ENTERS = pd.Timestamp("2013-06-10T05:00:00Z")
START_SECONDS = 60.0  # BentoML takes up to ten to start; a busy machine may need more
OURS = ("flights.parquet", "ringside.toml", ".ringside", "logs", "by_month.png", "result.html")


@dataclass(slots=True)
class Outcome:
    tally: Tally
    saboteur: str | None = None


def run_demo(folder: Path, *, every: int, connections: int, port: int, leave: bool, as_json: bool) -> int:
    """Runs it and returns the exit code: 0, or 1 where a request failed, was not logged, or the saboteur answered."""
    began = time.monotonic()
    console = Console(stderr=as_json)
    folder = folder.absolute()
    console.print(f"[bold]Ringside[/bold]: a year of flights out of New York, every {every}. of them, in {folder}")
    settings, flights = prepare(folder, every, port)
    record = open_record(settings)
    record.log.add_labels([], REPLAY_FROM.to_pydatetime())  # the record's time begins with the replay
    train_first(record, settings, console)
    with served(settings, folder / "logs", console):
        outcome = asyncio_run(record, settings, flights, connections, console)
        console.print("\nScoring the same requests with the frozen first champion, and with every challenger …")
        judged = judge(record, settings, without=outcome.saboteur)
        summary = summarise(record, judged, outcome.tally, saboteur=outcome.saboteur, seconds=time.monotonic() - began)
        promotions = [
            (event.at, event.model_version or "")
            for event in record.events.page(kind="model_promoted", limit=1000)[0]
            if event.data["previous"]
        ]
        draw(judged, promotions, folder / "by_month.png")
        write_page(summary, folder / "by_month.png", folder / "result.html")
        tell(console, summary, outcome.tally, folder)
        if as_json:
            print(json.dumps(summary.facts), flush=True)
        if not leave:
            stay(console, settings)
    sound = summary.facts["failed_requests"] == 0 and summary.facts["logged"] == summary.facts["requests"]
    return 0 if sound and not (outcome.saboteur and outcome.tally.answered_by[outcome.saboteur]) else 1


def prepare(folder: Path, every: int, port: int) -> tuple[Settings, list[Flight]]:
    """Writes the example's settings and its training data into the folder, emptied of an earlier demo."""
    strange = [path.name for path in folder.iterdir() if path.name not in OURS] if folder.is_dir() else []
    if strange:
        raise SettingsError(f"--folder {folder}: holds {strange[0]}, which is not the demo's; expected a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    flights = read_flights(package_folder(), every)
    rows = training_rows(flights)
    if rows.empty:
        raise DataError(f"--every {every}: no flight of January and February is left to train on")
    rows.to_parquet(folder / "flights.parquet", index=False)
    text = Path(__file__).with_name("ringside.toml").read_text(encoding="utf-8")
    chosen = port or free_port()
    (folder / "ringside.toml").write_text(text.replace("port = 3000", f"port = {chosen}"), encoding="utf-8")
    return load_settings(folder / "ringside.toml"), replay_flights(flights)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def train_first(record: Record, settings: Settings, console: Console) -> None:
    """The first champion, by the pipeline that makes every other version."""
    run = record.runs.request("command", "demo", "the first model, on January and February")
    console.print("Training the first model on January and February …")
    with progress_shown() as show:
        run_supervised(settings, record, run.run_id, show)
    ended = record.runs.get(run.run_id)
    if ended.version is None:
        raise Conflict(f"the first training gave no model: {json.dumps(ended.outcome)}")


@contextmanager
def served(settings: Settings, log_folder: Path, console: Console) -> Iterator[None]:
    """Service and watcher, running and supervised for as long as the block lasts."""
    supervisor = Supervisor(programs(settings), run_folder(settings), lambda *_: None, log_folder=log_folder)
    if not supervisor.start():
        raise Conflict(f"another demo runs in {settings.folder}; stop it, or give this one its own --folder")
    ready = threading.Event()
    supervising = threading.Thread(
        target=supervisor.run, args=(lambda: answers(settings, "/readyz"), ready.set, 0.5), daemon=True
    )
    console.print("Starting the prediction service and the watcher …")
    supervising.start()
    try:
        if not ready.wait(START_SECONDS):
            raise ReplayError(f"the service is not ready after {START_SECONDS:.0f} seconds; its logs: {log_folder}")
        yield
    finally:
        supervisor.stop()
        supervising.join(timeout=30)
        supervisor.close()


def answers(settings: Settings, path: str) -> bool:
    try:
        with socket.create_connection((settings.serve.host, settings.serve.port), timeout=2) as probe:
            probe.sendall(f"GET {path} HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n".encode())
            return probe.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def asyncio_run(
    record: Record, settings: Settings, flights: list[Flight], connections: int, console: Console
) -> Outcome:
    with Timeline(console, record, len(flights)) as timeline:
        return uvloop.run(replayed(record, settings, flights, connections, timeline))


async def replayed(
    record: Record, settings: Settings, flights: list[Flight], count: int, timeline: Timeline
) -> Outcome:
    outcome = Outcome(Tally())

    async def sabotage() -> None:
        at = SABOTEUR_ENTERS.to_pydatetime()
        told = "a challenger trained on partly shuffled labels is put in past the gate"
        timeline.say("bold magenta", f"SABOTEUR   {told}", at)
        outcome.saboteur = await asyncio.to_thread(enter_saboteur, settings)
        timeline.say("bold magenta", f"SABOTEUR   it is {outcome.saboteur}; it must lose, and answer nothing", at)

    connections = Connections(settings.serve.host, settings.serve.port, count)
    pauses = [(SABOTEUR_ENTERS.to_pydatetime(), sabotage)]
    replay = Replay(connections, flights, on_step=timeline.update, pauses=pauses)
    outcome.tally = replay.tally
    try:
        await replay.run()
    finally:
        connections.close()
    return outcome


def enter_saboteur(settings: Settings) -> str:
    """The saboteur's version, made and registered by a process of its own."""
    command = [sys.executable, "-m", "examples.flights.saboteur", str(settings.path)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, **THREADS},
    )
    if done.returncode != 0:
        raise ReplayError(f"the saboteur could not be made: {done.stderr.strip()[-2000:]}")
    return done.stdout.split()[-1]


def tell(console: Console, summary: Summary, tally: Tally, folder: Path) -> None:
    table = Table(
        title="The same requests under three policies, by month: log loss (lower is better) and AUC\n"
        "Ringside: by evidence; frozen: the first champion for ever; at once: every challenger promoted at once",
        title_justify="left",
        title_style="",
        box=None,
        padding=(0, 2, 0, 0),
        pad_edge=False,
    )
    for place, head in enumerate(HEADS):
        table.add_column(head, justify="left" if place == 0 else "right", no_wrap=True)
    for place, row in enumerate(summary.months):
        last = place == len(summary.months) - 1
        table.add_row(*row, style="bold" if last else None)
    console.print()
    console.print(table)
    for story in summary.stories:
        console.print(f"[bold]{story.version}[/bold]  {story.what}", highlight=False)
        for line in story.fate:
            console.print(f"    {line}", style="dim", highlight=False)
    refused = summary.facts["retrains"] - summary.facts["challengers"]
    console.print(f"Besides, the gate refused {refused} candidates before any bout.", highlight=False)
    console.print(f"\n{summary.price}\n", highlight=False)
    for promise, kept in promises(summary.facts):
        console.print("[green]shown    [/green]" if kept else "[red]not shown[/red]", promise)
    console.print(
        f"\n{summary.facts['seconds']:.0f} seconds, {tally.settle_seconds:.0f} of them waiting for the watcher "
        f"at {tally.settlements} due times\npicture  {folder / 'by_month.png'}\npage     {folder / 'result.html'}",
        highlight=False,
    )


def stay(console: Console, settings: Settings) -> None:
    """Prints where to look, and returns at Ctrl-C or SIGTERM."""
    url = f"http://{settings.serve.host}:{settings.serve.port}"
    console.print(f"\nstatus   {url}/status\nmodels   {url}/models\nevents   {url}/events\nmetrics  {url}/metrics")
    console.print(f"or       ringside status --config {settings.path}\n\nCtrl-C stops all.")
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    over.wait()
