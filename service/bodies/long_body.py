"""A long JSON body, parsed in pieces: nothing that it holds keeps the interpreter from other requests for long.

Bodies up to SHORT_BYTES are parsed at once (`service.bodies.json_body`): a few milliseconds at worst. Longer ones are
outlined first (`service.bodies.body_outline`), refused where they hold more than any request may, and then parsed a
few thousand values at a time. So the objects of a body exist only piece by piece, and a reader that lets go of each
piece needs little more memory than the body itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from record.contract.preview import preview_name
from record.errors import InvalidJson, TooLarge
from service.bodies.body_outline import MOST_LEVELS, MOST_LISTS, LongList, Outline, outline
from service.bodies.json_body import SHORT_BYTES, parse_body

PIECE_BYTES: Final = 65_536
MOST_PIECE_BYTES: Final = 4_000_000  # of one element of a list: the parser takes ten milliseconds for it
MOST_VALUES: Final = 50_000  # in one element of a list: some ten milliseconds too
# In JSON a character takes at most twelve bytes: both halves of a surrogate pair, escaped.
BYTES_PER_CHARACTER: Final = 12
_KEPT_BYTES: Final = 240  # of a text that is too long: as much as is shown of it
_TOO_LONG: Final = "…"
_SPACE: Final = b" \t\r\n"
_PLACE: Final = re.compile(r"\(byte (\d+)\)")


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """What a body may hold. `elements` has the most elements of a list by its name, with the words for more."""

    elements: Mapping[str, ListLimit]
    longest_text: int  # characters
    most_values: int = MOST_VALUES


@dataclass(frozen=True, slots=True)
class ListLimit:
    """`reason` says where the limit comes from, in the words of an error."""

    most: int
    reason: str

    def expect(self, name: str, count: int) -> None:
        """Raises TooLarge for a list of more elements."""
        if count > self.most:
            raise TooLarge(f"{name}: {count} in one request; expected at most {self.most} ({self.reason})", field=name)


class LongBody:
    """The body's object. `values` has its values, with a LongList in the place of each list.

    Raises InvalidJson for what is not a JSON object as far as the outline tells, and TooLarge. Its lists are parsed
    when they are asked for; then only what is not JSON in them shows.
    """

    def __init__(self, body: bytes, limits: BodyLimits) -> None:
        self._body = body
        self._limits = limits
        most = max((limit.most for limit in limits.elements.values()), default=1000)
        found = outline(body, most_elements=most, longest_text=BYTES_PER_CHARACTER * limits.longest_text)
        self._expect_object(found)
        self._long_texts = found.long_texts
        self.values = self._read_skeleton(found)
        for name, value in self.values.items():
            if isinstance(value, LongList):
                limit = limits.elements.get(name, ListLimit(most, "no list of a request has more"))
                limit.expect(preview_name(name), value.count)
                self._expect_small_elements(preview_name(name), value)

    def groups(self, name: str) -> Iterator[list[Any]]:
        """The elements of the list of that name, a few at a time."""
        held = self.values[name]
        for start, end, count in held.pieces(PIECE_BYTES):
            elements = self._parse(start, end, b"[", b"]")
            if len(elements) != count and not (held.count == 1 and not elements):
                raise InvalidJson("the body is not JSON: a list has not one value between two commas")
            yield elements

    def elements(self, name: str) -> list[Any]:
        """All elements of the list of that name."""
        return [element for group in self.groups(name) for element in group]

    def value(self) -> dict[str, Any]:
        """The whole object, for what is read as a whole."""
        return {name: self.elements(name) if isinstance(held, LongList) else held for name, held in self.values.items()}

    def _expect_object(self, found: Outline) -> None:
        if found.depth > MOST_LEVELS:
            raise InvalidJson(f"the body is nested more than {MOST_LEVELS} levels deep")
        beginning = self._body[:PIECE_BYTES]
        if beginning.lstrip(_SPACE)[:1] in (b"{", b""):
            if len(found.lists) > MOST_LISTS:
                raise TooLarge(f"the body has more than {MOST_LISTS} lists; no request has more than a few")
            if found.values > self._limits.most_values:
                raise TooLarge(f"the body has more than {self._limits.most_values} values beside its lists")
        if found.whole:
            return
        # What is wrong often shows at the beginning, in the parser's own words.
        try:
            parse_body(beginning)
        except InvalidJson as error:
            place = _PLACE.search(error.message)
            if place is not None and int(place[1]) < len(beginning) - 16:
                raise
        if beginning.lstrip(_SPACE)[:1] == b"[":
            raise InvalidJson("the body is a JSON list; expected an object")
        raise InvalidJson("the body is not one JSON object: it ends within a text or a bracket, or begins with neither")

    def _read_skeleton(self, found: Outline) -> dict[str, Any]:
        """The object with the number of each list in its place, parsed; and then the lists themselves."""
        parts: list[bytes] = []
        at = 0
        for number, held in enumerate(found.lists):
            parts += (self._text(at, held.start), b"%d" % number)
            at = held.end
        parts.append(self._text(at, len(self._body)))
        skeleton = b"".join(parts)
        if len(skeleton) > MOST_PIECE_BYTES:
            raise TooLarge(f"the body has more than {MOST_PIECE_BYTES} bytes beside its lists")
        values = parse_body(skeleton)
        if not isinstance(values, dict):
            raise InvalidJson("the body is not a JSON object")
        return {name: found.lists[value[0]] if isinstance(value, list) else value for name, value in values.items()}

    def _expect_small_elements(self, name: str, held: LongList) -> None:
        if len(held.values) and int(held.values.max()) > self._limits.most_values:
            place = int(held.values.argmax())
            raise TooLarge(
                f"{name}[{place}]: more than {self._limits.most_values} values; no element of a list may hold so many",
                field=f"{name}[{place}]",
            )

    def _parse(self, start: int, end: int, before: bytes, behind: bytes) -> Any:
        piece = before + self._text(start, end) + behind
        if len(piece) > MOST_PIECE_BYTES:
            raise TooLarge(f"the body has more than {MOST_PIECE_BYTES} bytes in one element of a list")
        try:
            return parse_body(piece)
        except InvalidJson as error:
            moved = _PLACE.sub(lambda place: f"(byte {int(place[1]) + start - len(before)})", error.message)
            raise InvalidJson(moved) from None

    def _text(self, start: int, end: int) -> bytes:
        """That part of the body, with the texts cut that are longer than any value may be."""
        cuts = [cut for cut in self._long_texts if start <= cut[0] and cut[1] <= end]
        if not cuts:
            return self._body[start:end]
        parts: list[bytes] = []
        at = start
        for begin, close in cuts:
            parts += (self._body[at:begin], _beginning(self._body[begin : begin + _KEPT_BYTES]), self._filler())
            at = close
        return b"".join((*parts, self._body[at:end]))

    def _filler(self) -> bytes:
        """What keeps a text that was cut longer than any may be, so that it is refused by name."""
        return _TOO_LONG.encode() * (self._limits.longest_text + 1)


def parse_long(body: bytes, limits: BodyLimits) -> Any:
    """The JSON value in a body of any length, for what is read as a whole."""
    return parse_body(body) if len(body) <= SHORT_BYTES else LongBody(body, limits).value()


def _beginning(text: bytes) -> bytes:
    """A JSON text's first bytes, up to its first escape, without a character that is cut in two."""
    return text.partition(b"\\")[0].decode("utf-8", "ignore").encode()
