"""Pictures of the boards for the documentation: `make pictures`.

The demo runs and is scraped; Prometheus gets what was scraped, and the boards' own queries are asked and drawn.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dashboards.build import BOARDS
from dashboards.drawing import Asked, draw
from dashboards.history import History, create_blocks, prometheus

FOLDER = Path(__file__).parents[1] / "docs" / "boards"
SCRAPE_SECONDS = 0.5  # about a day of the replay


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m dashboards.pictures", description=__doc__)
    parser.add_argument("--history", type=Path, help="a file of scrapes: written, or read where it is there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        openmetrics = given.history or folder / "history.txt"
        if not openmetrics.exists():
            replay(folder / "demo", openmetrics)
        create_blocks(openmetrics, folder / "blocks")
        with prometheus(folder / "blocks", free_port()) as url:
            asked = Asked(url, *times(openmetrics))
            FOLDER.mkdir(exist_ok=True)
            for board in BOARDS:
                draw(board, asked, FOLDER / f"{board.name}.png")


def replay(folder: Path, openmetrics: Path) -> None:
    """Runs the demo to its end, and writes what was scraped meanwhile."""
    port = free_port()
    history = History(f"http://127.0.0.1:{port}")
    command = [sys.executable, "-m", "ringside", "demo", "--folder", str(folder), "--port", str(port), "--exit"]
    demo = subprocess.Popen(command)
    while demo.poll() is None:
        history.scrape()
        time.sleep(SCRAPE_SECONDS)
    history.write(openmetrics)
    if demo.returncode:
        raise SystemExit(f"the demo ended with exit code {demo.returncode}; what was scraped until then: {openmetrics}")


def times(openmetrics: Path) -> tuple[float, float]:
    """The first and the last scrape."""
    with openmetrics.open(encoding="utf-8") as file:
        found = [float(line.split()[-1]) for line in file if line.startswith("up{")]
    return found[0], found[-1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
