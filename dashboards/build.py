"""Writes the Grafana boards, and Prometheus' page for operators: `make boards`. Tests keep what is committed fresh."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from dashboards.board import Board, board_json
from dashboards.boards import bout, drift_quality, governance, serving
from dashboards.runbook import write_runbook

FOLDER: Final = Path(__file__).parent / "grafana" / "boards"
BOARDS: Final[tuple[Board, ...]] = (serving.BOARD, drift_quality.BOARD, bout.BOARD, governance.BOARD)


def write_boards() -> None:
    for file in FOLDER.glob("*.json"):
        file.unlink()
    for board in BOARDS:
        (FOLDER / f"{board.name}.json").write_text(board_json(board))


if __name__ == "__main__":
    write_boards()
    write_runbook()
