"""Log lines that repeat: a few are written, the rest are counted."""

from __future__ import annotations

import logging

from record.log_lines import MOST_LINES, MOST_MESSAGES, SPAN_SECONDS, Repetitions


def record_of(message: str, name: str = "ringside") -> logging.LogRecord:
    return logging.LogRecord(name, logging.WARNING, __file__, 1, message, (), None)


def test_a_message_that_repeats_is_written_a_few_times_a_minute_and_then_counted() -> None:
    now = [0.0]
    repetitions = Repetitions(lambda: now[0])
    assert sum(repetitions.filter(record_of("cut")) for _ in range(1_000)) == MOST_LINES
    assert repetitions.filter(record_of("another"))
    assert repetitions.filter(record_of("cut", "uvicorn.error"))
    now[0] = SPAN_SECONDS
    line = record_of("cut")
    assert repetitions.filter(line)
    assert line.facts == {"left_out_before": 1_000 - MOST_LINES}  # type: ignore[attr-defined]
    line = record_of("cut")
    assert repetitions.filter(line)
    assert not hasattr(line, "facts")


def test_messages_that_are_never_the_same_are_bounded_together() -> None:
    """As another library's, which writes what it was sent into them."""
    now = [0.0]
    repetitions = Repetitions(lambda: now[0])
    written = sum(repetitions.filter(record_of(f"message {n}")) for n in range(10_000))
    assert written <= MOST_MESSAGES + MOST_LINES
