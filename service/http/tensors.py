"""Tensors of the Open Inference Protocol: one column of values each, as JSON or as raw bytes behind the JSON.

Raw bytes are the protocol's binary extension, the default of Triton's client: little-endian numbers, one byte for
a boolean, and for a text its length in four bytes and its UTF-8. In JSON, null is a missing value in every type;
NaN is one in a float tensor, which has no other way to say it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from struct import Struct
from struct import error as StructError
from typing import Any, Final

import numpy as np

from record.contract.preview import preview
from record.errors import Faults, InvalidJson, InvalidRecord, TooLarge
from service.bodies.json_body import parse_body

Values = list[Any]  # str, int, float, bool or None, as they stand in a JSON record
_NONE: Final = type(None)
_LENGTH: Final = Struct("<I")
_FLOATS: Final = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}
_INTEGERS: Final = {
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
}
DATATYPES: Final = ("BYTES", "BOOL", *_INTEGERS, *_FLOATS)
LONGEST_PARSED: Final = 65_536  # characters of one value in JSON within a text
# MLServer's words for what values mean. Another one would change how they are read, and is refused.
CONTENT_TYPES: Final = (None, "str", "np", "pd", "datetime", "pd_json")
_READ: Final = ", ".join(name for name in CONTENT_TYPES if name)


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of [n] or [n, k]; its values in rows, one after the other."""

    name: str
    datatype: str
    shape: Sequence[int]
    values: Values
    parameters: Mapping[str, Any] | None = None

    def described(self, *, raw_size: int | None = None) -> dict[str, Any]:
        """The tensor as the answer's JSON has it: with its values, or with the size of its raw bytes."""
        parameters = {**(self.parameters or {}), **({} if raw_size is None else {"binary_data_size": raw_size})}
        shown: dict[str, Any] = {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}
        if parameters:
            shown["parameters"] = parameters
        return shown if raw_size is not None else shown | {"data": self.values}

    def raw(self) -> bytes:
        """The values as raw bytes."""
        if self.datatype == "BYTES":
            texts = [str(value).encode() for value in self.values]
            return b"".join(_LENGTH.pack(len(text)) + text for text in texts)
        kind = "?" if self.datatype == "BOOL" else (_INTEGERS | _FLOATS)[self.datatype]
        return np.array(self.values, dtype=kind).tobytes()


class RawBytes:
    """What stands behind the JSON of a request; each raw tensor takes its part, in order."""

    def __init__(self, held: bytes) -> None:
        self._held = held
        self.size = len(held)
        self._taken = 0

    def take(self, size: Any, where: str) -> bytes:
        left = len(self._held) - self._taken
        if not _is_count(size) or size > left:
            raise _invalid(
                where, f"binary_data_size is {preview(size)}; expected at most the {left} bytes that are left"
            )
        start, self._taken = self._taken, self._taken + size
        return self._held[start : self._taken]

    def expect_empty(self) -> None:
        """Raises InvalidRecord where bytes are left that no tensor has claimed."""
        left = len(self._held) - self._taken
        if left:
            raise _invalid("inputs", f"{left} bytes behind the JSON belong to no tensor (binary_data_size)")


def read_column(held: Any, place: int, raw: RawBytes, max_batch: int) -> Tensor:
    """One input tensor of a request, of shape [n] or [n, 1]; InvalidRecord says what is wrong with it.

    TooLarge for more than `max_batch` records, before any of its values is looked at.
    """
    where = f"inputs[{place}]"
    if not isinstance(held, dict):
        raise _invalid(where, "expected a tensor: an object with name, shape, datatype and data")
    name, datatype, count = held.get("name"), held.get("datatype"), 0
    faults = Faults[InvalidRecord]()
    if not isinstance(name, str) or not name:
        faults.add(_invalid(f"{where}.name", f"{preview(name)} is no name; expected a column's"))
    if datatype not in DATATYPES:
        faults.add(_invalid(f"{where}.datatype", f"{preview(datatype)}; expected one of {', '.join(DATATYPES)}"))
    with faults.collect(InvalidRecord):
        count = _count(held.get("shape"), where)
    faults.expect_none()
    assert isinstance(name, str)
    assert isinstance(datatype, str)
    if count > max_batch:
        raise TooLarge(
            f"inputs: {preview(count)} records in one request; expected at most {max_batch} (serve.max_batch)",
            field="inputs",
        )
    parameters = read_parameters(held, f"{where}.parameters")
    if "shared_memory_region" in parameters:
        raise _invalid(f"{where}.parameters", "shared memory is not offered; expected data in the request")
    content = parameters.get("content_type")
    if content not in CONTENT_TYPES:
        raise _invalid(f"{where}.parameters", f"content_type {preview(content)} is not read; expected {_READ} or none")
    if "binary_data_size" in parameters:
        if held.get("data"):
            raise _invalid(where, "has both data and binary_data_size; expected one of them")
        values = _from_raw(raw.take(parameters["binary_data_size"], where), datatype, count, where)
    else:
        values = _from_json(held.get("data"), datatype, count, where)
    if content == "pd_json" and datatype == "BYTES":
        values = [_parsed(text, f"{where}.data[{row}]") for row, text in enumerate(values)]
    return Tensor(name, datatype, held["shape"], values)


def read_parameters(held: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    """The `parameters` of a request, a tensor or an output; none where they are null or absent."""
    parameters = held.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise _invalid(field, f"{preview(parameters)}; expected an object")
    return parameters


def _parsed(text: str | None, field: str) -> Any:
    """What MLServer's data frames write for a column of values of several types: each as JSON in a text."""
    try:
        if text is None:
            return None
        if len(text) > LONGEST_PARSED:
            raise _invalid(field, f"{preview(text)} is longer than any value in JSON may be")
        return parse_body(text.encode())
    except InvalidJson:
        raise _invalid(field, f"{preview(text)} is not JSON, as content_type 'pd_json' says") from None


def _count(shape: Any, where: str) -> int:
    flat = isinstance(shape, list) and len(shape) == 1
    column = isinstance(shape, list) and len(shape) == 2 and shape[1] == 1
    if not (flat or column) or not all(_is_count(size) for size in shape):
        raise _invalid(
            f"{where}.shape", f"{preview(shape)}; expected [n] or [n, 1]: one tensor for each column, n records long"
        )
    return int(shape[0])


def _is_count(value: Any) -> bool:
    return value.__class__ is int and value >= 0


def _from_json(data: Any, datatype: str, count: int, where: str) -> Values:
    field = f"{where}.data"
    if not isinstance(data, list):
        raise _invalid(field, f"{preview(data)}; expected a list of {count} values")
    if data and isinstance(data[0], list):  # [n, 1] with its rows as lists
        if not all(isinstance(row, list) and len(row) == 1 for row in data):
            raise _invalid(field, "expected rows of one value each, or a flat list")
        data = [row[0] for row in data]
    values: Values = data
    if len(values) != count:
        raise _invalid(field, f"has {len(values)} values; the shape says {count}")
    _expect_types(values, datatype, field)
    if datatype in _FLOATS:
        return [None if value != value else value for value in values]
    return values


_JSON_TYPES: Final[Mapping[str, tuple[frozenset[type], str]]] = {
    "BYTES": (frozenset((str, _NONE)), "strings or null"),
    "BOOL": (frozenset((bool, _NONE)), "true, false or null"),
    **dict.fromkeys(_INTEGERS, (frozenset((int, _NONE)), "integers or null")),
    **dict.fromkeys(_FLOATS, (frozenset((float, int, _NONE)), "numbers or null")),
}


def _expect_types(data: Values, datatype: str, field: str) -> None:
    types, wanted = _JSON_TYPES[datatype]
    if not types.issuperset(map(type, data)):
        row = next(row for row, value in enumerate(data) if type(value) not in types)
        raise _invalid(f"{field}[{row}]", f"{preview(data[row])} is no {datatype}; expected {wanted}")
    if datatype in _INTEGERS:
        bounds = np.iinfo(_INTEGERS[datatype])
        for row, value in enumerate(data):
            if value is not None and not bounds.min <= value <= bounds.max:
                raise _invalid(f"{field}[{row}]", f"{preview(value)} lies outside of {datatype}")


def _from_raw(data: bytes, datatype: str, count: int, where: str) -> Values:
    if datatype == "BYTES":
        return _raw_texts(data, count, where)
    kind = np.dtype(np.uint8 if datatype == "BOOL" else (_INTEGERS | _FLOATS)[datatype])
    if len(data) != count * kind.itemsize:
        raise _invalid(
            where, f"binary_data_size is {len(data)}; {count} values of {datatype} take {count * kind.itemsize}"
        )
    values: Values = np.frombuffer(data, kind).tolist()
    if datatype == "BOOL":
        return [value != 0 for value in values]
    if datatype in _FLOATS:
        return [None if value != value else value for value in values]
    return values


def _raw_texts(data: bytes, count: int, where: str) -> Values:
    texts: Values = []
    at = 0
    try:
        while at < len(data) and len(texts) <= count:
            (size,) = _LENGTH.unpack_from(data, at)
            at += _LENGTH.size + size
            if at > len(data):
                raise _invalid(where, f"the text of row {len(texts)} is cut off")
            texts.append(data[at - size : at].decode())
    except (StructError, UnicodeDecodeError):
        raise _invalid(where, f"the text of row {len(texts)} is no length in four bytes and that much UTF-8") from None
    if len(texts) != count:
        more = "more" if len(texts) > count else len(texts)
        raise _invalid(where, f"has {more} texts; the shape says {count}")
    return texts


def _invalid(field: str, message: str) -> InvalidRecord:
    return InvalidRecord(f"{field}: {message}", field=field)
