"""Settles the bout of a folder, as `monitoring.prove.joined.killed` has it killed: python -m … FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

from monitoring.prove.joined import settle_folder

if __name__ == "__main__":
    settle_folder(Path(sys.argv[1]))
