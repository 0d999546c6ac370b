"""Images are pinned to digests that Docker's client looks up, and to no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboards.pin import FILES, ROOT, docker_digest, pin

DIGEST = "sha256:" + "0123456789abcdef" * 4


def test_every_image_from_a_registry_gets_the_digest_of_its_own_tag_and_nothing_else_changes() -> None:
    for name in FILES:
        asked: list[str] = []

        def lookup(image: str, asked: list[str] = asked) -> str:
            asked.append(image)
            return DIGEST

        before = (ROOT / name).read_text()
        after = pin(before, lookup)
        assert asked
        assert all(f"{image}@{DIGEST}" in after for image in asked)
        assert "ringside:" not in " ".join(asked)
        assert after.replace(f"@{DIGEST}", "") == before
        assert pin(after, lookup) == after, "what is pinned stays as it is"


@pytest.mark.parametrize(("said", "fault"), [("unknown", ValueError), (DIGEST[:-1], ValueError)])
def test_an_answer_that_is_no_digest_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, fault: type[Exception]
) -> None:
    docker = tmp_path / "docker"
    docker.write_text(f"#!/bin/sh\necho {said}\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(fault, match="expected sha256"):
        docker_digest("prom/prometheus:v3.13.2")
