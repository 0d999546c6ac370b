"""schemathesis, run from the clients' environment over an OpenAPI document and a live service."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SEED = 7
# 503 says "again, later", as where a model gives no finite answer.
# 413 refuses what is too large, which schemathesis does not count as a refusal by itself.
SETTINGS = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 503]
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 409, 413, 422, 503]
"""


def check_document(
    client_python: Path,
    document: dict[str, Any],
    url: str,
    headers: dict[str, str],
    folder: Path,
    *,
    examples: int,
    options: Sequence[str],
) -> None:
    """Fails with schemathesis' report where the service does not do what the document says."""
    (folder / "document.json").write_text(json.dumps(document))
    (folder / "schemathesis.toml").write_text(SETTINGS)
    done = subprocess.run(
        [
            client_python.parent / "schemathesis",
            "--no-color",
            *("run", "document.json", "--url", url),
            *(part for name, value in headers.items() for part in ("--header", f"{name}: {value}")),
            *("--phases", "examples,coverage,fuzzing", "--max-examples", str(examples)),
            *("--seed", str(SEED), "--generation-database", "none", "--suppress-health-check", "all"),
            *options,
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    report = "\n".join(line[:500] for line in done.stdout.splitlines())  # bodies of 10,000 records are shown, too
    assert done.returncode == 0, report[-8000:] + done.stderr[-2000:]
