"""Bodies: JSON, its usual transgressions, and what is no JSON at all."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from record.errors import InvalidJson
from service.bodies.json_body import parse_body

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=20,
)


@given(values)
def test_whatever_json_says(value: Any) -> None:
    """Every JSON value is read as Python's own reader reads it."""
    assert parse_body(json.dumps(value).encode()) == json.loads(json.dumps(value))


def test_not_quite_json() -> None:
    """NaN, infinities and numbers beyond double precision become floats for the decoder to name."""
    read = parse_body(b'{"a": NaN, "b": -Infinity, "c": 1e400}')
    assert math.isnan(read["a"])
    assert (read["b"], read["c"]) == (-math.inf, math.inf)


def test_keys_that_stand_twice() -> None:
    """The last one counts, on the fast way and on the slow one."""
    assert parse_body(b'{"a": 1, "a": 2}') == {"a": 2}
    assert parse_body(b'{"a": NaN, "a": 2}') == {"a": 2}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1,]",
        b"1 2",
        b"\xff",
        b"\xef\xbb\xbf{}",
        b'{"a": "\xed\xa0\x80"}',
        rb'["\ud800"]',
        rb'[NaN, "\ud800"]',
        b'"\x00"',
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b"[NaN," + b"[" * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda body: repr(body[:12]),
)
def test_no_json(body: bytes) -> None:
    """Anything else is InvalidJson, and nothing worse."""
    with pytest.raises(InvalidJson):
        parse_body(body)


@given(st.binary(max_size=64))
@example(b"\xed\xa0\x80")
def test_any_bytes(body: bytes) -> None:
    """No body at all raises anything but InvalidJson."""
    try:
        parse_body(body)
    except InvalidJson:
        return


def test_a_body_that_is_no_json_is_told_so_once() -> None:
    """And where it stops being JSON."""
    with pytest.raises(InvalidJson, match=r"^the body is not JSON: invalid character \(byte 6\)$"):
        parse_body(b'{"a": }')
