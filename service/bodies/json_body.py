"""A request's body as Python values."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from record.errors import InvalidJson

SHORT_BYTES: Final = 65_536  # of a body that is parsed at once: two milliseconds for the worst of them
_SLOW_BYTES: Final = 1_000_000  # beyond it a number that JSON has not is an error like any other
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
        complaint = str(error).removeprefix("JSON is malformed: ")
        if len(body) > _SLOW_BYTES:
            raise InvalidJson(f"the body is not JSON: {complaint}") from None
        return _parse_slowly(bytes(body), complaint)
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
