"""An inference request of the Open Inference Protocol: its tensors as records, and the answers as tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import msgspec

from record.contract.schema import canonical_class
from record.errors import Fault, Faults, InvalidJson, InvalidRecord
from record.logged import Answer, new_id
from service.bodies.json_body import SHORT_BYTES, parse_body
from service.bodies.long_body import MOST_VALUES, BodyLimits, ListLimit, LongBody
from service.bodies.reader import expect_depth
from service.http.replies import JSON, NOT_LOGGED, Header, Reply, json_reply
from service.http.tensors import RawBytes, Tensor, read_column, read_parameters
from service.predict import LONGEST_ID, Answered, Asked

HEADER_LENGTH: Final = b"inference-header-content-length"
OUTPUTS: Final = ("prediction", "probabilities")
LONGEST_REQUEST_ID: Final = LONGEST_ID - len("#1000000000")
MOST_TENSORS: Final = 10_000
GROUP_ROWS: Final = 1_000  # of records that exist at one time
_parse_answer = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Question:
    """An inference request: one tensor for each column, and which outputs are wanted, each raw or not."""

    id: str
    columns: Sequence[Tensor]
    outputs: Mapping[str, bool]  # empty: all there are
    raw: bool  # whether outputs that are not named go out as raw bytes

    def asked(self) -> Asked:
        """The same as records, as POST /predict would have brought them."""
        count = self.columns[0].shape[0]
        return Asked(self._groups(), count, [f"{self.id}#{row}" for row in range(count)])

    def _groups(self) -> Iterator[list[Any]]:
        names = [column.name for column in self.columns]
        rows = zip(*(column.values for column in self.columns), strict=True)
        while group := [dict(zip(names, row, strict=True)) for row in islice(rows, GROUP_ROWS)]:
            yield group

    def in_tensors(self, error: InvalidRecord) -> InvalidRecord:
        """A complaint about records[3].distance as one about row 3 of the tensor distance."""
        first = _in_tensors(Fault(error.field, error.message))
        told = InvalidRecord(first.message, field=first.field, reason=error.reason)
        told.details = tuple(map(_in_tensors, error.details))
        return told

    def reply(self, name: str, answered: Answered) -> Reply:
        version, parameters = _version(answered)
        told: dict[str, Any] = {"model_name": name, "model_version": version, "id": self.id}
        if parameters:
            told["parameters"] = parameters
        tensors = [tensor for tensor in answer_tensors(answered.answers) if self._wants(tensor.name)]
        parts = [tensor.raw() if self.outputs.get(tensor.name, self.raw) else None for tensor in tensors]
        told["outputs"] = [
            tensor.described(raw_size=None if part is None else len(part))
            for tensor, part in zip(tensors, parts, strict=True)
        ]
        reply = json_reply(200, told)
        unlogged: list[Header] = [] if answered.logged else [NOT_LOGGED]
        if all(part is None for part in parts):
            return Reply(200, reply.body, [JSON, *unlogged])
        lengths: list[Header] = [
            (b"content-type", b"application/octet-stream"),
            (HEADER_LENGTH, str(len(reply.body)).encode()),
        ]
        return Reply(200, b"".join([reply.body, *(part for part in parts if part is not None)]), [*lengths, *unlogged])

    def _wants(self, name: str) -> bool:
        return not self.outputs or name in self.outputs


def _in_tensors(fault: Fault) -> Fault:
    place, dot, name = (fault.field or "").removeprefix("records[").partition("].")
    if not dot or not place.isdigit():
        return fault
    field = f"inputs.{name}[{place}]"
    return Fault(field, fault.message.replace(fault.field or "", field, 1))


def _version(answered: Answered) -> tuple[str, dict[str, Any]]:
    """The version that computed the answers. Where some were repeated from the log, `row_versions` has each one's."""
    versions = [answer.model_version for answer in answered.answers]
    if len(set(versions)) == 1:
        return versions[0], {}
    return answered.model_version, {"row_versions": versions}


def answer_tensors(answers: Sequence[Answer]) -> list[Tensor]:
    """The answers as tensors; their types are those of the answers themselves."""
    predictions = [_parse_answer(answer.prediction) for answer in answers]
    if answers[0].probabilities is None:
        return [Tensor("prediction", "FP64", [len(answers)], [float(value) for value in predictions])]
    rows: list[dict[str, float]] = [_parse_answer(answer.probabilities or "{}") for answer in answers]
    # Answers of one request can be of two versions, where an earlier one is repeated, and these know other classes.
    classes = list(dict.fromkeys(name for row in rows for name in row))
    return [
        _predictions(predictions),
        Tensor(
            "probabilities",
            "FP64",
            [len(answers), len(classes)],
            [row.get(name, 0.0) for row in rows for name in classes],
            {"classes": classes},
        ),
    ]


def _predictions(values: list[Any]) -> Tensor:
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return Tensor("prediction", "BOOL", [len(values)], values)
    if kinds == {int}:
        return Tensor("prediction", "INT64", [len(values)], values)
    return Tensor("prediction", "BYTES", [len(values)], [canonical_class(value) for value in values])


def read_question(body: bytes, json_length: bytes | None, max_batch: int, longest_text: int) -> Question:
    """The request in a body, whose first `json_length` bytes are JSON where raw tensors follow.

    Raises InvalidJson, InvalidRecord or TooLarge. Keys that the protocol does not know are ignored, as it asks for.
    """
    length = _json_length(json_length, len(body))
    held = _parse(body[:length], max_batch, longest_text)
    if not isinstance(held, dict):
        raise InvalidJson('the body is no JSON object; expected one with "inputs"')
    faults = Faults[InvalidRecord]()
    columns, raw, id, outputs = list[Tensor](), False, "", dict[str, bool]()
    with faults.collect(InvalidRecord):
        columns = _read_columns(held.get("inputs"), RawBytes(body[length:]), max_batch)
    with faults.collect(InvalidRecord):
        raw = read_parameters(held, "parameters").get("binary_data_output") is True
    with faults.collect(InvalidRecord):
        id = _request_id(held.get("id"))
    with faults.collect(InvalidRecord):
        outputs = _read_outputs(held.get("outputs"), raw)
    faults.expect_none()
    return Question(id, columns, outputs, raw)


def _parse(text: bytes, max_batch: int, longest_text: int) -> Any:
    if len(text) <= SHORT_BYTES:
        held = parse_body(text)
        expect_depth(held)
        return held
    tensors = ListLimit(MOST_TENSORS, "one tensor for each column")
    # A tensor of [n, 1] has its values in lists of one: two brackets and a comma for each.
    most_values = max(MOST_VALUES, 3 * max_batch + 1000)
    return LongBody(text, BodyLimits({"inputs": tensors, "outputs": tensors}, longest_text, most_values)).value()


def _json_length(header: bytes | None, size: int) -> int:
    if header is None:
        return size
    if not header.isdigit() or int(header[:12]) > size:
        raise InvalidJson(f"Inference-Header-Content-Length: expected a number of bytes up to the body's {size}")
    return int(header)


def _read_columns(held: Any, raw: RawBytes, max_batch: int) -> list[Tensor]:
    if not isinstance(held, list) or not held:
        raise InvalidRecord("inputs: expected a list of tensors, one for each column", field="inputs")
    columns, faults = list[Tensor](), Faults[InvalidRecord]()
    for place, tensor in enumerate(held):
        with faults.collect(InvalidRecord):
            columns.append(read_column(tensor, place, raw, max_batch))
        if len(columns) <= place and (raw.size or faults.left <= 0):
            break  # which raw bytes are the next tensor's is not known
    faults.expect_none()
    raw.expect_empty()
    _expect_alike(columns)
    return columns


def _expect_alike(columns: Sequence[Tensor]) -> None:
    """Raises InvalidRecord where tensors have not one length and each a name of its own."""
    faults = Faults[InvalidRecord]()
    count, seen = columns[0].shape[0], set[str]()
    for place, column in enumerate(columns):
        if column.shape[0] != count or count == 0:
            message = (
                f"inputs[{place}].shape: {column.shape[0]} values of {column.name[:60]!r}; expected every tensor to "
                "have the same number of records, at least one"
            )
            faults.add(InvalidRecord(message, field=f"inputs[{place}].shape"))
        if column.name in seen:
            message = f"inputs[{place}].name: {column.name[:60]!r} stands twice; expected each column once"
            faults.add(InvalidRecord(message, field=f"inputs[{place}].name"))
        seen.add(column.name)
    faults.expect_none()


def _request_id(held: Any) -> str:
    """The request's id; a new one where it has none."""
    if held is None or held == "":
        return new_id()
    if not isinstance(held, str) or len(held) > LONGEST_REQUEST_ID or not held.isprintable():
        raise InvalidRecord(f"id: expected up to {LONGEST_REQUEST_ID} printable characters", field="id")
    return held


def _read_outputs(held: Any, raw: bool) -> dict[str, bool]:
    wanted: dict[str, bool] = {}
    if held is None:
        return wanted
    if not isinstance(held, list):
        raise InvalidRecord("outputs: expected a list of {name, …}", field="outputs")
    faults = Faults[InvalidRecord]()
    for place, output in enumerate(held):
        with faults.collect(InvalidRecord):
            name, binary = _read_output(output, f"outputs[{place}]", raw)
            wanted[name] = binary
    faults.expect_none()
    return wanted


def _read_output(output: Any, field: str, raw: bool) -> tuple[str, bool]:
    name = output.get("name") if isinstance(output, dict) else None
    if not isinstance(name, str) or name not in OUTPUTS:
        raise InvalidRecord(f"{field}.name: expected {' or '.join(map(repr, OUTPUTS))}", field=f"{field}.name")
    parameters = read_parameters(output, f"{field}.parameters")
    if {"classification", "shared_memory_region"} & set(parameters):
        raise InvalidRecord(
            f"{field}.parameters: neither classification nor shared memory is offered",
            field=f"{field}.parameters",
        )
    return name, parameters.get("binary_data", raw) is True
