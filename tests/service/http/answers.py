"""Answers of a service held against its own OpenAPI document."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import httpx
from jsonschema import Draft202012Validator, FormatChecker

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class DescribedService:
    """A document, and which of its answers were seen."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self._components = closed(document["components"])
        self.seen: set[tuple[str, str, int]] = set()

    def described(self) -> set[tuple[str, str, int]]:
        """Every method, path and status that the document names."""
        return {
            (method.upper(), path, int(status))
            for path, operations in self.document["paths"].items()
            for method, operation in operations.items()
            for status in operation["responses"]
        }

    def expect_described(self, response: httpx.Response, path: str) -> None:
        """Fails where the answer is not as the document says of that path: its status, type, headers and body."""
        method, status = response.request.method, response.status_code
        responses = self.document["paths"][path][method.lower()]["responses"]
        assert str(status) in responses, f"{method} {path} answers {status}: {response.text[:300]}"
        said = responses[str(status)]
        kind = response.headers["content-type"].partition(";")[0]
        assert kind in said["content"], f"{method} {path} answers {status} as {kind}"
        if kind == "application/json":
            faults = self.faults(response.json(), said["content"][kind]["schema"])
            assert not faults, f"{method} {path} {status}: {faults}\n{response.text[:1000]}"
        for name, header in said.get("headers", {}).items():
            if name.lower() != "ringside-logged":
                assert name.lower() in response.headers, f"{method} {path} {status} lacks {name}"
                value = response.headers[name]
                wanted = header["schema"]
                assert not self.faults(int(value) if wanted.get("type") == "integer" else value, wanted)
        self.seen.add((method, path, status))

    def faults(self, value: Any, schema: Mapping[str, Any]) -> list[str]:
        """What of the value is not as the schema says, or not in it."""
        whole = {"$schema": DIALECT, "components": self._components, **closed(schema)}
        validator = Draft202012Validator(whole, format_checker=FormatChecker())
        return [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(value)]


def closed(schema: Any) -> Any:
    """The schema, in which an object has no other properties than those that are named."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    held = {key: closed(value) for key, value in schema.items()}
    if held.get("type") == "object" and "properties" in held:
        held.setdefault("additionalProperties", False)
    return held


def filled(path: str, **parts: str) -> str:
    """The path with its variable parts."""
    return re.sub(r"\{(\w+)\}", lambda found: parts[found[1]], path)


def body_of(document: Mapping[str, Any], path: str) -> bytes:
    """The example of a route's request."""
    content = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    return json.dumps(content["examples"]["usual"]["value"]).encode()
