"""Where a version comes from: enough to make it again."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = ("lightgbm", "numpy", "onnx", "onnxruntime", "optuna", "pandas", "scikit-learn", "skops")


def library_versions() -> dict[str, str]:
    held = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            held[name] = version(name)
        except PackageNotFoundError:  # installed without its metadata
            continue
    return held


def git_commit(folder: Path) -> str | None:
    """The commit of the settings' folder, with + behind it where files were changed since; None without git."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return None
    return commit + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
