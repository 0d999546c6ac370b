"""Text from elsewhere, made fit to be shown: on one line, in order, and without a command to the terminal.

Names, values, ids and reasons come from callers and data files. Printed raw, an escape sequence rewrites the screen, a
line break adds a line that nobody wrote, and a bidirectional override shows text in another order than it is stored.
Everything that a command prints, and every log line, goes through here.
"""

from __future__ import annotations

import io
import json
import re
import sys
import unicodedata
from typing import IO, Any

from record.redaction import redact

_SUSPECT = re.compile(r"[^\x20-\x7e]")
_JSON_RAW = re.compile(r"[^\x20-\x7e\n]")


def printable(text: str) -> str:
    """Return the text on one line; what is not a visible character or a space becomes an escape, such as `\\x1b`."""
    return text if text.isprintable() else _SUSPECT.sub(_escape, text)


def printable_lines(text: str) -> str:
    """The same for text of several lines that are ours: line breaks stay, and nothing else that moves the cursor."""
    return "\n".join(map(printable, text.split("\n")))


def printable_json(document: str) -> str:
    """The same for JSON, which stays the same document: the escapes are JSON's own, such as `\\u001b`."""
    return document if document.isprintable() else _JSON_RAW.sub(_json_escape, document)


def _hidden(character: str) -> bool:
    """Whether a character is a control, a format mark, a surrogate, a line separator, or none that has a shape."""
    return not character.isprintable() and unicodedata.category(character) != "Zs"


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    return character.encode("unicode_escape", "surrogatepass").decode("ascii") if _hidden(character) else character


def _json_escape(found: re.Match[str]) -> str:
    character = found[0]
    if not _hidden(character):
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


class PrintableStream(io.TextIOWrapper):
    """A text stream through which no control character but the line break passes, whoever prints.

    `stream` is what it stands before, for a progress bar, which is drawn with control characters of its own.
    """

    def __init__(self, stream: io.TextIOWrapper) -> None:
        super().__init__(
            stream.buffer,
            encoding=stream.encoding,
            errors="backslashreplace",  # a locale without the character is no reason to fail
            line_buffering=stream.line_buffering,
        )
        self.stream = stream

    def write(self, text: str) -> int:
        return super().write(printable_lines(text))


def raw_stream(stream: IO[str]) -> Any:
    """The stream behind a PrintableStream; any other as it is."""
    return stream.stream if isinstance(stream, PrintableStream) else stream


def print_line(text: object = "", *, file: IO[str] | None = None) -> None:
    """Print one line, whatever the text holds."""
    print(printable(str(text)), file=file)


def print_file(text: str) -> None:
    """Print text that a file would hold, such as CSV: to the letter into a pipe or a file, printable in a terminal."""
    stream = sys.stdout if sys.stdout.isatty() else raw_stream(sys.stdout)
    stream.write(text)
    stream.flush()


def print_json(value: Any) -> None:
    """Print a JSON value on one line."""
    print(printable_json(json.dumps(value)))


def print_error(error: Exception, prefix: str) -> None:
    """Print what is wrong on standard error, without secrets: a line for each fault that the error knows of."""
    for fault in getattr(error, "faults", ()) or (getattr(error, "message", str(error)),):
        print_line(f"{prefix}: {redact(fault)}", file=sys.stderr)


def guard_terminal() -> None:
    """From now on nothing that this process prints moves the cursor, by whichever function it prints."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper) and not isinstance(stream, PrintableStream):
            setattr(sys, name, PrintableStream(stream))
