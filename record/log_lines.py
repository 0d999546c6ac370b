"""Log lines as JSON: a constant message with fields, one line each, on standard error."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from record.printable import printable_json
from record.redaction import redact, redact_values

_LOGGER = logging.getLogger("ringside")


MOST_LINES: Final = 100  # of one message, within
SPAN_SECONDS: Final = 60.0
MOST_MESSAGES: Final = 256  # that are told apart
# They write lines of their own about requests; what a caller can repeat must not fill the disk there either.
_OTHERS: Final = ("asyncio", "bentoml", "uvicorn", "uvicorn.access", "uvicorn.asgi", "uvicorn.error")


class Repetitions(logging.Filter):
    """Lets a message through so often a minute; the next line after that says how many were left out.

    A message is its constant text, so that callers who are refused again and again make a line now and then.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._spans: dict[tuple[str, str], tuple[float, int]] = {}  # since when, and how many lines

    def filter(self, record: logging.LogRecord) -> bool:
        key, now = (record.name, str(record.msg)[:200]), self._monotonic()
        if key not in self._spans and len(self._spans) >= MOST_MESSAGES:
            key = (record.name, "")
        since, count = self._spans.get(key, (now, 0))
        if now - since >= SPAN_SECONDS:
            left_out = count - MOST_LINES
            if left_out > 0:
                record.facts = {**getattr(record, "facts", {}), "left_out_before": left_out}
            since, count = now, 0
        self._spans[key] = (since, count + 1)
        return count < MOST_LINES


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return printable_json(
            json.dumps(redact_values(line), ensure_ascii=False, default=lambda held: redact(str(held)))
        )


def write_json_lines() -> None:
    """Sends this process's log lines to standard error as JSON; once is enough, twice does no harm."""
    if any(isinstance(handler.formatter, JsonLines) for handler in _LOGGER.handlers):
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    repetitions = Repetitions()
    handler.addFilter(repetitions)
    for name in _OTHERS:
        logging.getLogger(name).addFilter(repetitions)
    _LOGGER.addHandler(handler)
    _LOGGER.setLevel(logging.INFO)
    _LOGGER.propagate = False


def log_line(message: str, *, level: int = logging.INFO, exc_info: bool = False, **facts: Any) -> None:
    """Writes one line; `message` is constant, what varies is in the facts."""
    _LOGGER.log(level, message, extra={"facts": facts}, exc_info=exc_info)
