"""A machine's clock that a test sets while processes run by it: an LD_PRELOAD shim, built by the C compiler."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("clock_shim.c")


class ShiftedClock:
    """The clock of processes that are started with `environment`. The test's own clock stays right."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("gcc") or shutil.which("cc")
        if compiler is None:
            pytest.skip("a shifted clock needs a C compiler: Debian's gcc")
        library = folder / "clock_shim.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE], check=True)
        self._file = folder / "clock_offset"
        self._offset = timedelta(0)
        self.set(timedelta(0))
        self.environment: Mapping[str, str] = {"LD_PRELOAD": str(library), "SHIFTED_CLOCK": str(self._file)}

    def set(self, offset: timedelta) -> None:
        """Put the clock this far from the right time, at once."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("<q", round(offset.total_seconds())))
        self._offset = offset

    def now(self) -> datetime:
        return datetime.now(UTC) + self._offset
