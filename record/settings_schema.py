"""A JSON Schema of ringside.toml: what an editor completes and marks is what loading accepts.

Rules that span keys (`drift.decide_every` is no shorter than `drift.every`) are checked at load only.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from record.configuration.complaint import PLACES
from record.configuration.units import format_duration
from record.settings import Settings

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


class _SchemaGenerator(GenerateJsonSchema):
    """Writes defaults as people write them in the file."""

    def encode_default(self, dft: Any) -> Any:
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)

    def generate(self, schema: core_schema.CoreSchema, mode: Any = "validation") -> JsonSchemaValue:
        return {"$schema": DIALECT, **super().generate(schema, mode)}


def settings_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the settings file, keys and their descriptions included."""
    schema = Settings.model_json_schema(schema_generator=_SchemaGenerator)
    for place in PLACES:
        del schema["properties"][place]
    return {**schema, "title": "ringside.toml", "description": "Settings of one Ringside service."}
