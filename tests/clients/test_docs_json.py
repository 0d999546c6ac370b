"""`/docs.json` says what is so: schemathesis holds every route of it against a live service."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from service.http.routes import RULES
from tests.clients.checking import check_document
from tests.service.serving import LiveService

EXAMPLES = 10  # of each operation, besides those for each keyword of the document


@pytest.mark.timeout(320)
def test_no_fault_no_undocumented_answer_no_accepted_nonsense(
    client_python: Path, live: LiveService, all_roles: dict[str, str], tmp_path: Path
) -> None:
    document = httpx.get(f"{live.url}/docs.json", headers=all_roles).json()
    described = {(method.upper(), path) for path, held in document["paths"].items() for method in held}
    assert described == {(rule.method, rule.path) for rule in RULES if rule.path != "/v2/"}
    check_document(
        client_python,
        document,
        live.url,
        all_roles,
        tmp_path,
        examples=EXAMPLES,
        # Some of what fits the document does not fit together: as many ids as records, tensors as long as their shape.
        options=("--exclude-checks", "positive_data_acceptance"),
    )
