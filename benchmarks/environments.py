"""An environment for each peer, made by uv on first use and kept under the user's home."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ENVIRONMENTS = Path.home() / ".cache" / "ringside-benchmarks"


def environment(name: str, packages: Sequence[str], folder: Path) -> Path:
    """The folder of the executables; this program's own where no packages are asked for."""
    if not packages:
        return Path(sys.executable).parent
    home = folder / name
    stamp = home / "packages.txt"
    wanted = "\n".join(packages)
    if not stamp.exists() or stamp.read_text() != wanted:
        uv = str(Path(sys.executable).parent / "uv")
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(home)], check=True)
        python = str(home / "bin" / "python")
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *packages], check=True)
        stamp.write_text(wanted)
    return home / "bin"
