"""Faults of the machine take minutes, more of them where it is busy: no test here ends by the usual limit."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test of this folder twenty minutes, where it does not say otherwise itself."""
    for item in items:
        if Path(__file__).parent in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(1200))
