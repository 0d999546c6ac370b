"""A worker's metrics file: allocated before it is used, in memory where there is no room, and back when there is."""

from __future__ import annotations

import errno
import os
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from prometheus_client.mmap_dict import MmapedDict

from service import metrics_file
from service.metrics_file import FIRST_BYTES, MetricsFile, keep_metrics_files, shrink
from service.quota import Buckets


def held(path: Path) -> dict[str, float]:
    """What prometheus_client reads from the file."""
    return {key: value for key, value, _, _ in MmapedDict.read_all_values_from_file(str(path))}


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bool]]:
    """A file system that can be full: {"is": False}."""
    state, real = {"is": True}, os.posix_fallocate

    def allocate(descriptor: int, offset: int, length: int) -> None:
        if not state["is"]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor, offset, length)

    monkeypatch.setattr(os, "posix_fallocate", allocate)
    yield state
    metrics_file._OPEN.clear()


def test_a_file_has_all_of_its_blocks_before_it_is_used(tmp_path: Path) -> None:
    """Also after it has grown: a page that is missing ends the process when the file system is full."""
    path = tmp_path / "counter_1.db"
    file = MetricsFile(str(path))
    for number in range(3000):
        file.write_value(f"key {number} {'x' * 100}", float(number), 0.0)
        found = path.stat()
        assert found.st_blocks * 512 >= found.st_size
    assert found.st_size > FIRST_BYTES
    assert held(path) == {f"key {number} {'x' * 100}": float(number) for number in range(3000)}
    assert list(tmp_path.glob("*.new")) == []
    file.close()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 40), st.floats(0, 1e9)),
        st.tuples(st.just("full"), st.just(0), st.just(0.0)),
        st.tuples(st.just("room"), st.just(0), st.just(0.0)),
        st.tuples(st.just("removed"), st.just(0), st.just(0.0)),
        st.tuples(st.just("keep"), st.just(0), st.just(0.0)),
    ),
    max_size=30,
)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(steps=STEPS)
def test_whatever_becomes_of_the_disk_the_values_are_kept(
    tmp_path: Path, room: dict[str, bool], steps: list[tuple[str, int, float]]
) -> None:
    """Full, room again, the folder removed, in any order: the values are right, and in the file in the end."""
    path = tmp_path / "metrics" / "counter_1.db"
    path.unlink(missing_ok=True)
    room["is"] = True
    file, expected = MetricsFile(str(path)), {}
    for what, number, value in steps:
        key = f"{number} {'k' * 20_000}"  # seven of them are more than a file begins with
        if what == "write":
            file.write_value(key, value, 0.0)
            expected[key] = value
        elif what == "removed":
            shutil.rmtree(path.parent, ignore_errors=True)
        elif what == "keep":
            assert file.keep() or not room["is"]
        else:
            room["is"] = what == "room"
        assert {key: file.read_value(key)[0] for key in expected} == expected
        if file.kept and path.exists():
            assert held(path) == expected
    room["is"] = True
    assert file.keep()
    assert held(path) == expected
    assert list(path.parent.glob("*.new")) == []
    file.close()


def test_the_reason_is_said_while_there_is_no_room(tmp_path: Path, room: dict[str, bool]) -> None:
    room["is"] = False
    file = MetricsFile(str(tmp_path / "counter_1.db"))
    file.write_value("a", 3.0, 0.0)
    assert keep_metrics_files() == "No space left on device"
    assert list(tmp_path.iterdir()) == []
    room["is"] = True
    assert keep_metrics_files() is None
    assert held(tmp_path / "counter_1.db") == {"a": 3.0}
    file.close()


def test_a_process_with_a_dead_ones_number_goes_on_with_its_counts(tmp_path: Path) -> None:
    """Processes in a container get the same small numbers again and again: counted once, not lost."""
    path = tmp_path / "counter_1.db"
    first = MetricsFile(str(path))
    first.write_value("a", 3.0, 0.0)
    first.close()
    shrink(path, lambda: False)
    assert path.stat().st_size < 100
    assert held(path) == {"a": 3.0}
    second = MetricsFile(str(path))
    second.write_value("a", second.read_value("a")[0] + 1, 0.0)
    assert held(path) == {"a": 4.0}
    second.close()


def test_a_living_processs_file_is_never_cut(tmp_path: Path) -> None:
    path = tmp_path / "counter_1.db"
    file = MetricsFile(str(path))
    shrink(path, lambda: True)
    assert path.stat().st_size == FIRST_BYTES
    file.close()


@pytest.mark.parametrize("content", [b"", b"\0", struct.pack("i", 500), b"\xff" * 200, b"text" * 50])
def test_a_file_that_cannot_be_read_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "counter_1.db"
    path.write_bytes(content)
    file = MetricsFile(str(path))
    file.write_value("a", 1.0, 0.0)
    assert held(path) == {"a": 1.0}
    file.close()


def test_quotas_are_shared_again_when_there_is_room(tmp_path: Path, room: dict[str, bool]) -> None:
    """Each worker counts by itself meanwhile; and all of them share a new file where theirs was removed."""
    path = tmp_path / "quotas"
    room["is"] = False
    one, other = Buckets(path), Buckets(path)
    with one.slot("a") as times:
        times[0] = 5.0
    with other.slot("a") as times:
        assert times == [0.0, 0.0]
    room["is"] = True
    for removed in (False, True):
        if removed:
            path.unlink()
        one.keep()
        other.keep()
        with one.slot("a") as times:
            times[0] = 7.0
        with other.slot("a") as times:
            assert times[0] == 7.0
