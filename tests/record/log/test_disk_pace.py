"""A disk is waited for where that is quick; a slow one is handed over, and tried again now and then."""

from __future__ import annotations

import pytest

from record.log.disk_pace import QUICK_SECONDS, TRY_SECONDS, DiskPace


class Disk:
    """Takes as long as it is told, by a clock of its own."""

    def __init__(self) -> None:
        self.at = 100.0
        self.seconds = 0.0
        self.error: OSError | None = None

    def now(self) -> float:
        return self.at

    def sync(self) -> None:
        self.at += self.seconds
        if self.error is not None:
            raise self.error


def test_a_quick_disk_stays_quick() -> None:
    disk = Disk()
    pace = DiskPace(disk.now)
    disk.seconds = QUICK_SECONDS / 2
    for _ in range(50):
        pace.measure(disk.sync)
        assert pace.quick


def test_one_stall_is_left_behind_after_a_dozen_quick_syncs() -> None:
    disk = Disk()
    pace = DiskPace(disk.now)
    disk.seconds = 0.015
    pace.measure(disk.sync)
    assert not pace.quick
    disk.seconds = QUICK_SECONDS / 4
    syncs = 0
    while not pace.quick:
        pace.measure(disk.sync)
        syncs += 1
    assert 5 < syncs < 20


def test_a_slow_disk_is_tried_once_a_second() -> None:
    disk = Disk()
    pace = DiskPace(disk.now)
    disk.seconds = 0.01
    for _ in range(20):
        pace.measure(disk.sync)
    tries = 0
    for _ in range(1000):  # ten seconds
        disk.at += 0.01
        if pace.quick:
            pace.measure(disk.sync)
            tries += 1
    assert 8 <= tries <= round(10 / TRY_SECONDS)


def test_a_sync_that_fails_is_measured_too() -> None:
    disk = Disk()
    disk.seconds, disk.error = 1.0, OSError("gone")
    pace = DiskPace(disk.now)
    with pytest.raises(OSError, match="gone"):
        pace.measure(disk.sync)
    assert not pace.quick
