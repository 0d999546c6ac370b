"""Pins the images of compose.yaml and of the Dockerfile to the digests that their tags have today: `make pin`.

A tag can be moved, a digest cannot. Docker's own client looks the digests up, in the registries that you use.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
FILES: Final = ("compose.yaml", "Dockerfile")
# Images with a tag that are not pinned yet; the one that compose.yaml builds itself is not in a registry.
_IMAGE: Final = re.compile(r"^(\s*image: |FROM )(?!ringside:)([\w./-]+:[\w.-]+)(?=\s|$)", re.MULTILINE)
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")

Lookup = Callable[[str], str]  # image with its tag → digest


def pin(text: str, lookup: Lookup) -> str:
    """The same file, in which every image that has a tag alone has its digest too."""
    return _IMAGE.sub(lambda found: f"{found[1]}{found[2]}@{lookup(found[2])}", text)


def docker_digest(image: str) -> str:
    """The digest of the image's list of platforms; ValueError where Docker names none."""
    command = ["docker", "buildx", "imagetools", "inspect", image, "--format", "{{.Manifest.Digest}}"]
    digest = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    if not _DIGEST.fullmatch(digest):
        raise ValueError(f"{image}: docker answered {digest[:100]!r}; expected sha256:…")
    return digest


def main() -> int:
    try:
        pinned = {name: pin((ROOT / name).read_text(), docker_digest) for name in FILES}
    except FileNotFoundError:
        print("docker is not installed; expected its client, with buildx", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        print(f"{' '.join(error.cmd)}: {error.stderr.strip()}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    for name, text in pinned.items():
        (ROOT / name).write_text(text)
        print(f"{name}: {len(_DIGEST.findall(text))} images pinned")
    return 0


if __name__ == "__main__":
    sys.exit(main())
