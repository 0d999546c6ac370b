"""A request's body as Python values."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from record.errors import InvalidJson

_DECODE = msgspec.json.Decoder().decode


def parse_body(body: bytes | bytearray | memoryview) -> Any:
    """The JSON value in `body`; InvalidJson where there is none.

    NaN and Infinity, which some clients write though JSON has no such numbers, become floats, as do numbers beyond
    double precision, so that whoever reads the value can say in which record and field they stand. Of keys that
    stand twice in one object the last counts. Depth is bounded by the interpreter's recursion limit.
    """
    try:
        return _DECODE(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _parse_slowly(bytes(body), str(error).removeprefix("JSON is malformed: "))
    except RecursionError:
        raise InvalidJson("the body is nested too deeply to be read; expected a few levels") from None


def _parse_slowly(body: bytes, complaint: str) -> Any:
    try:
        text = body.decode("utf-8")
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode(
            "utf-8"
        )  # half a surrogate pair is no text: it could not be logged
    except RecursionError:
        raise InvalidJson("the body is nested too deeply to be read; expected a few levels") from None
    except UnicodeError:
        raise InvalidJson("the body is not valid UTF-8 text; expected JSON in UTF-8") from None
    except ValueError:
        raise InvalidJson(f"the body is not JSON: {complaint}") from None
    return value
