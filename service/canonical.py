"""One text for one value: what is hashed, and what is stored as JSON, is written this way."""

from __future__ import annotations

import json
from typing import Any


def canonical_json(value: Any) -> str:
    """The value's text: sorted keys, no spaces, no NaN.

    Raises ValueError for NaN and infinity, TypeError for what JSON cannot say.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
