"""A text file's encoding where no mark gives it: UTF-8, or one byte a character; a mixture is refused.

One stray byte in a file of UTF-8 would make every other letter beyond ASCII two wrong ones.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from record.errors import DataError
from record.tables.file_bytes import open_bytes, unpacked

WINDOWS: Final = "cp1252"
LATIN: Final = "iso-8859-1"
UTF_8_SHARE: Final = 0.1  # of what is no ASCII: with less, characters of two bytes are two of one byte, by chance
_PART: Final = 16 << 20
_STRAY: Final = re.compile("[\udc80-\udcff]")  # bytes that are no UTF-8, as "surrogateescape" decodes them
_BEYOND_ASCII: Final = re.compile("[\u0080-\ud7ff\ue000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class _Scan:
    """A whole file decoded as UTF-8: its characters beyond ASCII, bytes that are none, and their first line."""

    characters: int
    strays: int
    line: int | None
    single_byte: str


def text_encoding(path: Path) -> str:
    """ "utf-8", or a single-byte encoding; DataError naming the line of a byte that is stray in UTF-8.

    Windows-1252 where each byte is a character of it, else Latin-1, where every byte is one. Reads the whole file.
    """
    found = _scan(path)
    if not found.strays:
        return "utf-8"
    if found.characters >= UTF_8_SHARE * (found.characters + found.strays):
        raise DataError(
            f"{path}, line {found.line}: a byte that is no UTF-8, which the file is otherwise ({found.strays} such "
            f"bytes beside {found.characters} characters of several bytes); expected one encoding: save it as UTF-8"
        )
    return found.single_byte


def stray_line(path: Path) -> int | None:
    """The first line that is no UTF-8."""
    return _scan(path).line


def _scan(path: Path) -> _Scan:
    decoder = codecs.getincrementaldecoder("utf-8")(errors="surrogateescape")
    characters = strays = lines = 0
    first: int | None = None
    single_byte = WINDOWS
    with unpacked(path), open_bytes(path) as file:
        while part := file.read(_PART):
            single_byte = single_byte if part.isascii() or _is_windows(part) else LATIN
            text = decoder.decode(part)
            found = None if text.isascii() else _STRAY.search(text)
            if found and first is None:
                first = lines + text.count("\n", 0, found.start()) + 1
            strays += len(_STRAY.findall(text)) if found else 0
            characters += 0 if text.isascii() else len(_BEYOND_ASCII.findall(text))
            lines += text.count("\n")
    rest = len(decoder.decode(b"", final=True))
    return _Scan(characters, strays + rest, first or (lines + 1 if rest else None), single_byte)


def _is_windows(part: bytes) -> bool:
    try:
        part.decode(WINDOWS)
    except UnicodeDecodeError:
        return False
    return True
