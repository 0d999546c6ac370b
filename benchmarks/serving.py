"""How fast Ringside answers, beside the floor of the technique and its peers, each in turn in one run.

    python -m benchmarks.serving                  everything: about fifteen minutes
    python -m benchmarks.serving --only floor,ringside --seconds 3

Needs wrk and hey (Debian packages), and makes an environment for each peer on first use (--environments). Prints the
tables, replaces its section of benchmarks/RESULTS.md and draws benchmarks/serving.png. Figures are ratios of servers
measured in one run on one machine; the absolute ones say more about the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from benchmarks import problem
from benchmarks.disturbance import challenge, measure_disturbances
from benchmarks.environments import ENVIRONMENTS
from benchmarks.load import Pace, Throughput, hey, wrk
from benchmarks.results import replace_section, table
from benchmarks.ringside_server import copy_home, ringside_server, write_version
from benchmarks.servers import PEERS, Running, Server, environment_of, running
from benchmarks.swaps import measure_swaps

SKLEARN = ("scikit-learn==1.9.1", "pandas==3.0.6")
CONNECTIONS = 8
PACED = ("floor", "ringside", "ringside-alone")
BATCH = 1000


@dataclass(slots=True)
class Figures:
    """What was measured of one server."""

    name: str
    single: Throughput
    batch: Throughput | None = None
    paced: Pace | None = None
    start_seconds: float = 0.0
    workers_mb: list[int] = field(default_factory=list)

    @property
    def rows_per_second(self) -> float:
        return self.batch.requests_per_second * BATCH if self.batch else 0.0


def peers(folder: Path) -> list[Server]:
    return [
        Server("echo", ("uvicorn", "floor:app", "--port", "{port}", "--workers", "2", "--no-access-log"), path="/echo"),
        Server("floor", ("uvicorn", "floor:app", "--port", "{port}", "--workers", "2", "--no-access-log")),
        Server(
            "fastapi",
            ("uvicorn", "fastapi_sklearn:app", "--port", "{port}", "--workers", "2", "--no-access-log"),
            packages=("fastapi", "uvicorn[standard]", *SKLEARN),
        ),
        Server(
            "bentoml",
            ("bentoml", "serve", "bentoml_sklearn:Service", "--host", "127.0.0.1", "--port", "{port}"),
            ready="/readyz",
            packages=("bentoml==1.4.39", *SKLEARN),
            environment={"BENTOML_HOME": str(folder / "bentoml")},
        ),
        Server(
            "mlserver",
            ("mlserver", "start", "."),
            path="/v2/models/flights/infer",
            ready="/v2/models/flights/ready",
            packages=("mlserver==1.7.1", "uvloop<0.22", "scikit-learn==1.9.1", "pandas<3"),
            environment={"MLSERVER_HTTP_PORT": "{port}"},
            folder=PEERS / "mlserver",
        ),
        Server(
            "mlflow",
            tuple(f"mlflow models serve -m {folder}/mlflow --env-manager local -h 127.0.0.1 -p {{port}} -w 2".split()),
            path="/invocations",
            ready="/ping",
            packages=("mlflow==3.17.0", "scikit-learn==1.9.1", "pandas<3"),
        ),
    ]


# Everything on: a live challenger, too. Beside it the same without one, and the same with every commit on the disk.
CHALLENGED = ("ringside", "ringside-fsync")


def bodies_for(server: Server, rows: Sequence[dict[str, float | str | None]], size: int) -> list[str]:
    """The same records in the server's own protocol."""
    parts = problem.rows_per_request(list(rows), size)
    if server.name == "mlflow":
        return [json.dumps({"dataframe_records": json.loads(part)["records"]}) for part in parts]
    if server.name == "mlserver":
        return [_v2(json.loads(part)["records"]) for part in parts]
    return parts


def _v2(rows: list[dict[str, float | str | None]]) -> str:
    inputs = [
        {
            "name": name,
            "shape": [len(rows), 1],
            "datatype": "BYTES" if name in problem.CATEGORIES else "FP64",
            "data": [row[name] for row in rows],
        }
        for name in problem.FEATURES
    ]
    return json.dumps({"parameters": {"content_type": "pd"}, "inputs": inputs})


@contextmanager
def started(server: Server, options: argparse.Namespace, folder: Path) -> Iterator[Running]:
    if server.name == "mlflow":
        python = environment_of(server, options.environments) / "python"
        subprocess.run([str(python), str(PEERS / "mlflow_model.py")], check=True, capture_output=True)
    if server.name.startswith("ringside"):
        copy_home(folder, server.name)
    with running(server, options.environments, {}, folder / f"{server.name}.log") as up:
        if server.name in CHALLENGED:
            challenge(up, folder / server.name / "ringside.toml")
        yield up


def measure(
    server: Server, rows: list[dict[str, float | str | None]], options: argparse.Namespace, folder: Path
) -> Figures:
    complete = [row for row in rows if server.name != "mlserver" or None not in row.values()]  # v2 has no null
    single = bodies_for(server, complete[:200], 1)
    batches = bodies_for(server, (complete * 3)[: BATCH * 2], BATCH)
    with started(server, options, folder) as up:
        wrk(up.url, single, connections=CONNECTIONS, seconds=2)  # warm
        seen = Figures(server.name, wrk(up.url, single, connections=CONNECTIONS, seconds=options.seconds))
        seen.start_seconds = up.start_seconds
        seen.workers_mb = [size >> 20 for size in up.memory_of_workers()]
        if server.name != "echo":
            seen.batch = wrk(up.url, batches, connections=2, seconds=options.seconds)
    return seen


def measure_paced(
    server: Server, rows: list[dict[str, float | str | None]], options: argparse.Namespace, folder: Path
) -> Pace:
    """Latency at the common pace: a fresh process, warm, and one connection for each that wrk had."""
    single = bodies_for(server, rows[:200], 1)
    with started(server, options, folder) as up:
        wrk(up.url, single, connections=CONNECTIONS, seconds=2)
        return hey(up.url, single[0], rate=options.pace, connections=CONNECTIONS, seconds=options.seconds * 2)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names of servers, comma-separated")
    parser.add_argument("--seconds", type=int, default=8, help="of each measurement")
    parser.add_argument("--environments", type=Path, default=ENVIRONMENTS)
    parser.add_argument("--parts", default="throughput,disturbances,swaps", help="what to measure, comma-separated")
    parser.add_argument("--write", action="store_true", help="write RESULTS.md and serving.png")
    options = parser.parse_args(arguments)
    options.environments.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["RINGSIDE_BENCH_MODEL"] = str(folder)
        frame = problem.flights()
        problem.save_pipeline(frame, folder / "pipeline.joblib")
        write_version(frame, folder)
        parts = options.parts.split(",")
        texts = [f"`python -m benchmarks.serving`, {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores\n"]
        rate = 500.0
        if "throughput" in parts:
            figures = run(frame, options, folder)
            texts.append(report(figures))
            rate = options.pace or rate
            if options.write:
                draw(figures, Path(__file__).parent / "serving.png")
        bodies = problem.rows_per_request(problem.records(frame, 200), 1)
        if "disturbances" in parts:
            held = measure_disturbances(folder, bodies, rate, options.seconds, options.environments)
            texts.append(f"At {rate:,.0f} requests a second:\n\n{held}")
        if "swaps" in parts:
            texts.append(measure_swaps(folder, bodies, options.environments))
    text = "\n".join(texts)
    print(text)
    if options.write:
        replace_section(Path(__file__).parent / "RESULTS.md", "serving", f"## Serving\n\n{text}")


def run(frame: pd.DataFrame, options: argparse.Namespace, folder: Path) -> list[Figures]:
    rows = problem.records(frame, 1200)
    servers = peers(folder)
    servers += [ringside_server(folder, name) for name in ("ringside", "ringside-alone")]
    servers.append(ringside_server(folder, "ringside-fsync", durability="fsync"))
    only = set(filter(None, options.only.split(",")))
    servers = [server for server in servers if not only or server.name in only]
    figures: dict[str, Figures] = {}
    for server in servers:
        print(f"… {server.name}", flush=True)
        figures[server.name] = measure(server, rows, options, folder)
    # Latencies are compared at one pace, half of what Ringside gives: each on a fresh server, so that what a full
    # load leaves behind is no part of it.
    options.pace = figures["ringside"].single.requests_per_second / 2 if "ringside" in figures else 0.0
    for server in servers:
        if options.pace and server.name in PACED:
            print(f"… {server.name} at {options.pace:,.0f} requests a second", flush=True)
            figures[server.name].paced = measure_paced(server, rows, options, folder)
    return list(figures.values())


def report(figures: Sequence[Figures]) -> str:
    floor = next((f for f in figures if f.name == "floor"), None)
    lines = []
    for seen in figures:
        ratio = seen.single.requests_per_second / floor.single.requests_per_second if floor else float("nan")
        paced = f"{seen.paced.p50 * 1e3:.2f} / {seen.paced.p99 * 1e3:.2f}" if seen.paced else ""
        lines.append(
            [
                seen.name,
                f"{seen.single.requests_per_second:,.0f}",
                f"{ratio:.3f}",
                f"{seen.single.p50 * 1e3:.2f} / {seen.single.p99 * 1e3:.2f}",
                paced,
                f"{seen.rows_per_second:,.0f}" if seen.batch else "",
                f"{seen.start_seconds:.1f}",
                " ".join(map(str, seen.workers_mb[:4])),
                str(seen.single.failed + (seen.batch.failed if seen.batch else 0)),
            ]
        )
    heads = ["server", "requests/s", "× floor", "p50 / p99 ms, saturated", "p50 / p99 ms, paced", "rows/s in batches"]
    return table([*heads, "start s", "MB of processes", "failed"], lines)


def draw(figures: Sequence[Figures], path: Path) -> None:
    """Requests per second of each server that answered every request, on a logarithmic scale."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    whole = [seen for seen in figures if not seen.single.failed]
    shown = sorted(whole, key=lambda seen: seen.single.requests_per_second)
    figure, axes = plt.subplots(figsize=(8, 0.5 * len(shown) + 1.2), layout="constrained")
    colors = ["#c0392b" if seen.name.startswith("ringside") else "#7f8c8d" for seen in shown]
    bars = axes.barh([seen.name for seen in shown], [seen.single.requests_per_second for seen in shown], color=colors)
    axes.bar_label(bars, labels=[f"{seen.single.requests_per_second:,.0f}" for seen in shown], padding=3)
    axes.set_xscale("log")
    axes.set_xlabel("single-record requests per second, 8 connections, 2 workers")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
