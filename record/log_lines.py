"""Log lines as JSON: a constant message with fields, one line each, on standard error."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

_LOGGER = logging.getLogger("ringside")


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
        return json.dumps(line, ensure_ascii=False, default=str)


def write_json_lines() -> None:
    """Sends this process's log lines to standard error as JSON; once is enough, twice does no harm."""
    if any(isinstance(handler.formatter, JsonLines) for handler in _LOGGER.handlers):
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    _LOGGER.addHandler(handler)
    _LOGGER.setLevel(logging.INFO)
    _LOGGER.propagate = False


def log_line(message: str, *, level: int = logging.INFO, exc_info: bool = False, **facts: Any) -> None:
    """Writes one line; `message` is constant, what varies is in the facts."""
    _LOGGER.log(level, message, extra={"facts": facts}, exc_info=exc_info)
