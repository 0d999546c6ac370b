"""The outline of a long JSON body: where its lists and their elements are, found before anything is parsed.

A JSON parser keeps the interpreter to itself until it has made an object of every value, seconds for a body of the
largest size. The outline is found in NumPy, window by window, and NumPy lets other threads run meanwhile. With it a
list of too many elements is refused before one of them exists, and the others are parsed in small pieces.

Whether the body is JSON is for the parser to say: each of its bytes is in exactly one piece or in the skeleton, and
where the outline was misled by what is not JSON, a piece is not JSON either, or has not the elements counted here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

WINDOW: Final = 262_144  # bytes looked at together: as much as stays in a processor's cache with its masks
MOST_LEVELS: Final = 20  # of nesting; a predict request has four
MOST_OUTSIDE: Final = 100_000  # brackets, commas and colons beside its lists
MOST_LISTS: Final = 100  # among the values of the object; a request has two

_QUOTE, _BACKSLASH, _COMMA, _COLON = b'"'[0], b"\\"[0], b","[0], b":"[0]
_OPEN, _CLOSE = b"{"[0], b"}"[0]  # "[" and "]" are these two but for one bit
_CASE_BIT: Final = 0x20
_LIST = b"["[0]

_Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LongList:
    """A list that is a value of the body's object. Positions are of bytes in the body."""

    start: int  # behind its "["
    end: int  # of its "]"
    commas: _Positions  # between its elements, up to the limit
    values: _Positions  # [elements] brackets, commas and colons in each element: an upper bound of its values
    count: int  # of elements; 0 or 1 where there is no comma

    def pieces(self, most_bytes: int) -> Iterator[tuple[int, int, int]]:
        """Runs of elements of together about that many bytes: (start, end, elements), without the commas between."""
        begin, first = self.start, 0
        while True:
            last = int(np.searchsorted(self.commas, begin + most_bytes))  # the first comma behind
            if last >= len(self.commas):
                yield begin, self.end, self.count - first
                return
            last = max(last, first)
            end = int(self.commas[last])
            yield begin, end, last + 1 - first
            begin, first = end + 1, last + 1


@dataclass(frozen=True, slots=True)
class Outline:
    """The lists among the values of an object, in the order in which they stand in the body."""

    lists: list[LongList]
    depth: int  # the deepest level
    long_texts: list[tuple[int, int]]  # where the texts begin and end that are longer than the limit, quotes left out
    values: int  # brackets, commas and colons outside of the lists' elements
    whole: bool  # whether it is one object, closed where the body ends, of at most MOST_LISTS lists


@dataclass(slots=True)
class _Scan:
    """What is known at a window's start."""

    most_elements: int
    longest_text: int  # bytes
    in_string: bool = False
    text_start: int = 0  # of the text that is open
    long_texts: list[tuple[int, int]] = field(default_factory=list)
    escaped: bool = False
    level: int = 0
    deepest: int = 0
    structural: int = 0  # brackets, commas and colons so far
    outside: int = 0  # those of them that are in no list
    first: int = -1  # the kind of the first bracket
    lists: list[LongList] = field(default_factory=list)
    list_start: int = -1  # of the list that is open
    marks: list[npt.NDArray[np.int64]] = field(default_factory=list)  # its commas, and their place among the structural
    count: int = 0
    broken: bool = False


def outline(body: bytes | bytearray | memoryview, *, most_elements: int, longest_text: int) -> Outline:
    """The body's outline. A list's elements are counted to its end, and placed up to `most_elements` of them.

    `longest_text` is in bytes. What cannot be a request is looked at no further: no object, or one of too many lists
    or levels.
    """
    data = np.frombuffer(body, np.uint8)
    scan = _Scan(most_elements, longest_text)
    for start in range(0, len(data), WINDOW):
        _look(scan, data[start : start + WINDOW], start)
        if scan.broken or scan.deepest > MOST_LEVELS or scan.outside > MOST_OUTSIDE:
            break
    whole = not scan.broken and scan.level == 0 and not scan.in_string and scan.first == _OPEN
    return Outline(scan.lists, scan.deepest, scan.long_texts, scan.outside, whole)


def _look(scan: _Scan, window: npt.NDArray[np.uint8], start: int) -> None:
    quotes = window == _QUOTE
    escaped = _escaped(scan, window)
    if escaped is not None:
        quotes[escaped] = False
    _measure_texts(scan, np.flatnonzero(quotes) + start)
    inside = np.bitwise_xor.accumulate(quotes.view(np.uint8))
    if scan.in_string:
        inside ^= 1
    scan.in_string = bool(inside[-1])
    folded = window | _CASE_BIT
    marks = (folded == _OPEN) | (folded == _CLOSE) | (window == _COMMA) | (window == _COLON)
    marks &= inside == 0
    at = np.flatnonzero(marks)
    if len(at):
        _follow(scan, window[at], at + start)


def _measure_texts(scan: _Scan, quotes: _Positions) -> None:
    """Goes through a window's quotes: every second one ends a text, the first one where a text is open."""
    if scan.in_string and len(quotes):
        if int(quotes[0]) - scan.text_start > scan.longest_text:
            scan.long_texts.append((scan.text_start, int(quotes[0])))
        quotes = quotes[1:]
    ends = quotes[1::2]
    begins = quotes[0 : 2 * len(ends) : 2] + 1
    for place in np.flatnonzero(ends - begins > scan.longest_text).tolist():
        scan.long_texts.append((int(begins[place]), int(ends[place])))
    if len(quotes) % 2:
        scan.text_start = int(quotes[-1]) + 1


def _escaped(scan: _Scan, window: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64] | None:
    """The places behind a backslash that is not itself escaped; None where there are none."""
    held, scan.escaped = scan.escaped, False
    at = np.flatnonzero(window == _BACKSLASH)
    if held:
        at = at[1:] if len(at) and at[0] == 0 else at
    if not len(at):
        return np.zeros(1, np.int64) if held else None
    # Of a run of backslashes every second one is escaped by the one before.
    begins = np.empty(len(at), np.bool_)
    begins[0] = True
    np.not_equal(at[1:], at[:-1] + 1, out=begins[1:])
    place = np.arange(len(at))
    within = place - np.maximum.accumulate(np.where(begins, place, 0))
    behind = at[within % 2 == 0] + 1
    if behind[-1] == len(window):
        scan.escaped = True
        behind = behind[:-1]
    return np.append(behind, 0) if held else behind


def _follow(scan: _Scan, kinds: npt.NDArray[np.uint8], at: _Positions) -> None:
    """Goes through a window's brackets, commas and colons outside of texts."""
    folded = kinds | _CASE_BIT
    steps = (folded == _OPEN).astype(np.int8) - (folded == _CLOSE).astype(np.int8)
    levels = np.cumsum(steps, dtype=np.int64) + scan.level
    if scan.first < 0:
        scan.first = int(kinds[0])
    scan.broken |= scan.first != _OPEN or bool(levels.min() < 0)
    scan.deepest = max(scan.deepest, int(levels.max()))
    before = scan.structural
    # A list of interest opens at level 2 with "[" and closes where the level comes back to 1.
    opens = (levels == 2) & (kinds == _LIST)
    edges = np.flatnonzero(opens | ((levels == 1) & (steps == -1)))
    covered = 0  # up to where the window has been dealt with
    for edge in edges.tolist():
        if scan.broken:
            return
        if steps[edge] == 1:
            if scan.list_start < 0:
                scan.outside += edge + 1 - covered
                scan.list_start, scan.count, scan.marks = int(at[edge]) + 1, 0, []
                covered = edge + 1
                scan.marks.append(np.array([[at[edge], before + edge]]))
        elif scan.list_start >= 0:
            _count(scan, kinds, levels, at, covered, edge, before)
            _close(scan, int(at[edge]), before + edge)
            covered = edge
    if scan.list_start >= 0:
        _count(scan, kinds, levels, at, covered, len(kinds), before)
    else:
        scan.outside += len(kinds) - covered
    scan.level = int(levels[-1])
    scan.structural = before + len(kinds)


def _count(
    scan: _Scan,
    kinds: npt.NDArray[np.uint8],
    levels: _Positions,
    at: _Positions,
    first: int,
    end: int,
    before: int,
) -> None:
    commas = np.flatnonzero((kinds[first:end] == _COMMA) & (levels[first:end] == 2)) + first
    scan.count += len(commas)
    if len(commas) and scan.count - len(commas) <= scan.most_elements:
        scan.marks.append(np.stack([at[commas], commas + before], axis=1))


def _close(scan: _Scan, end: int, structural: int) -> None:
    marks = np.concatenate(scan.marks)
    values = np.diff(np.append(marks[:, 1], structural)) - 1
    scan.lists.append(LongList(scan.list_start, end, marks[1:, 0], values, scan.count + 1))
    scan.list_start = -1
    scan.broken |= len(scan.lists) > MOST_LISTS
