"""The boards' pictures: drawn from a Prometheus that was given a replay's scrapes, by the time of what was replayed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dashboards.board import MARKS
from dashboards.boards import bout
from dashboards.drawing import Asked, colour_of, draw, filled, told
from dashboards.history import History, create_blocks, prometheus
from dashboards.panel import Query, above, below
from tests.dashboards.promtool import DASHBOARDS, need
from tests.dashboards.queries import FILES
from tests.service.serving import free_port

DAY = 86_400
START = 1_362_000_000.0  # 2013: a replay's time, not today's
SCRAPE = """
# TYPE ringside_shadow_evidence gauge
ringside_shadow_evidence {evidence}
# TYPE ringside_watcher_heartbeat_timestamp_seconds gauge
ringside_watcher_heartbeat_timestamp_seconds 1.7e9
# TYPE ringside_audit_events_total counter
ringside_audit_events_total{{kind="model_promoted"}} {promotions}
# TYPE ringside_promotions_total counter
ringside_promotions_total{{outcome="a \\"quoted\\" one"}} 1
"""


@pytest.fixture(scope="module")
def history() -> History:
    """Forty days; a promotion on the twentieth; no bout from then on."""
    held = History("http://nowhere")
    for day in range(40):
        evidence = 2**day if day < 20 else "NaN"
        assert held.add(SCRAPE.format(evidence=evidence, promotions=int(day >= 20)), START + day * DAY)
    return held


def test_a_replay_can_be_asked_and_drawn_by_its_own_time(history: History, tmp_path: Path) -> None:
    need("promtool")
    need("prometheus")
    history.write(tmp_path / "history.txt")
    create_blocks(tmp_path / "history.txt", tmp_path / "blocks")
    with prometheus(tmp_path / "blocks", free_port()) as url:
        asked = Asked(url, START, START + 39 * DAY)
        ((_, times, values),) = asked.lines(Query("max(ringside_shadow_evidence)"))
        assert times[0].timestamp() == START
        assert {1.0, 2.0**19} <= set(values)
        promoted, rolled_back, _ = (asked.times(mark) for mark in MARKS)
        assert [(at.timestamp() - START) / DAY for at in promoted] == [20]
        assert rolled_back == []
        ((name, _, _),) = asked.lines(Query("max by (outcome) (ringside_promotions_total)", "{{outcome}}"))
        assert name == 'a "quoted" one'
        draw(bout.BOARD, asked, tmp_path / "bout.png")
    assert (tmp_path / "bout.png").read_bytes().startswith(b"\x89PNG")


def test_a_time_is_added_once_and_the_machines_own_are_left_out(history: History) -> None:
    assert not history.add(SCRAPE.format(evidence=1, promotions=0), START)
    assert "ringside_watcher_heartbeat_timestamp_seconds" not in history.lines


def test_queries_are_asked_for_scrapes_that_are_a_day_apart() -> None:
    """Recorded ones are spelt out, since nobody recorded them in 2013."""
    assert filled('rate(x{v=~"$version"}[$__rate_interval])') == 'rate(x{v=~".*"}[7d])'
    assert filled("1 - ringside:champion_age:seconds") == (
        "1 - (time() - max(ringside_model_last_training_timestamp_seconds))"
    )


def test_numbers_have_the_units_and_colours_of_the_board() -> None:
    assert [told(value, "s") for value in (0.0012, 90, 172_800)] == ["1.2 ms", "1.5 min", "2 d"]
    assert (told(0.5, "percentunit"), told(1, "bool_yes_no"), told(12_345, "short")) == ("50%", "yes", "12.35k")
    assert colour_of(0.05, above(0.05, 0.1)) != colour_of(0.1, above(0.05, 0.1))
    assert colour_of(0.7, below(0.8, 0.9)) == colour_of(0.1, below(0.8, 0.9)) == colour_of(1, above(0.5, 1))


def test_the_page_shows_every_board_and_its_pictures_are_small() -> None:
    docs = DASHBOARDS.parent / "docs"
    shown = re.findall(r"\((boards/[\w-]+\.png)\)", (docs / "monitoring.md").read_text())
    assert sorted(shown) == [f"boards/{file.stem}.png" for file in FILES]
    assert all((docs / picture).stat().st_size < 200_000 for picture in shown)
