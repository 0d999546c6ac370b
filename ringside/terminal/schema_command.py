"""`ringside schema`: a JSON Schema of ringside.toml, for editors."""

from __future__ import annotations

from record.printable import print_json


def schema() -> None:
    """Print a JSON Schema of ringside.toml, by which an editor completes keys and marks mistakes.

    Example: ringside schema > ringside.schema.json
    """
    from record.settings_schema import settings_schema

    print_json(settings_schema())
