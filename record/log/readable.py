"""Logged rows that can be read: one that cannot never stops what reads many.

The record is written by this product alone, and still: a row may have been changed by hand, or come from a version
with another idea of it. Whoever reads rows in bulk leaves such a row out, and says how many they were.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

import msgspec

from record.log.window import LogChunk
from record.log_lines import log_line
from record.logged import LoggedRow, MaturedRow

Row = TypeVar("Row", bound=LoggedRow)
_read_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_read_scalar = msgspec.json.Decoder(str | bool | int | float).decode
_read_number = msgspec.json.Decoder(int | float).decode
_read_shares = msgspec.json.Decoder(dict[str, float | None]).decode


def readable_rows(rows: Sequence[Row], *, numeric: bool, job: str) -> Sequence[Row]:
    """The rows whose texts are what a row has; `numeric` where answers and labels are numbers.

    Those left out are counted in a log line, under the name of the job that reads them.
    """
    kept = [row for row in rows if _is_readable(row, numeric)]
    if len(kept) == len(rows):
        return rows
    tell_left_out(job, len(rows) - len(kept), len(rows))
    return kept


def readable_chunk(chunk: LogChunk, *, numeric: bool, job: str) -> tuple[LogChunk, int]:
    """The same of a chunk, and how many were left out."""
    columns = zip(chunk.records, chunk.predictions, chunk.probabilities, strict=True)
    sound = [is_readable(record, said, shares, numeric) for record, said, shares in columns]
    missing = len(sound) - sum(sound)
    if not missing:
        return chunk, 0
    tell_left_out(job, missing, len(sound))
    kept: dict[str, Any] = {
        column.name: tuple(value for value, good in zip(getattr(chunk, column.name), sound, strict=True) if good)
        for column in fields(chunk)
    }
    return replace(chunk, **kept), missing


def is_readable(record: str, prediction: str, probabilities: str | None, numeric: bool) -> bool:
    """Whether the texts of an answered request are JSON of the kinds that they have to be."""
    return (
        _reads(record, _read_object, lambda value: isinstance(value, dict))
        and is_scalar(prediction, numeric)
        and (probabilities is None or _reads(probabilities, _read_shares, _has_shares))
    )


def is_scalar(text: str, numeric: bool) -> bool:
    """Whether a text is one JSON value, as answers and labels are."""
    if numeric:
        return _reads(text, _read_number, _is_number)
    return _reads(text, _read_scalar, lambda value: isinstance(value, str | bool | int | float))


def tell_left_out(job: str, count: int, of: int) -> None:
    """Says that rows could not be read."""
    log_line("rows left out that cannot be read", level=logging.WARNING, job=job, rows=count, of=of)


def _is_readable(row: LoggedRow, numeric: bool) -> bool:
    label = row.label if isinstance(row, MaturedRow) else None
    return is_readable(row.record, row.prediction, row.probabilities, numeric) and (
        label is None or is_scalar(label, numeric)
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _has_shares(value: Any) -> bool:
    return isinstance(value, dict) and all(share is None or _is_number(share) for share in value.values())


def _reads(text: Any, read: Callable[[str], Any], fits: Callable[[Any], bool]) -> bool:
    try:
        read(text)
        return True
    except (msgspec.DecodeError, UnicodeError, TypeError):
        pass
    try:  # msgspec takes neither half a surrogate pair nor an integer of more than 64 bits, which the log may hold
        return fits(json.loads(text))
    except (ValueError, TypeError, RecursionError):
        return False
