"""Work for one caller, which stops once it is given up: nothing is committed behind the refusal that the caller got.

The event loop gives work up at its deadline; a thread does it. The two agree on the moment of a commit: work that is
being committed, or has been, is not given up, and its caller gets the answer; work that was given up commits nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock

from record.errors import Overloaded


class WorkGivenUp(Overloaded):
    """The deadline has passed: whoever asked has been told so already."""

    def __init__(self) -> None:
        super().__init__("the request was given up at its deadline (serve.request_timeout); nothing of it was stored")


class Work:
    """One piece of work. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._committed = self._given_up = False

    def give_up(self) -> bool:
        """Stop it at its next step; False from its commit on, until it begins another transaction."""
        with self._lock:
            self._given_up = not self._committed
            return self._given_up

    def begin(self) -> None:
        """A transaction begins, perhaps after another one."""
        with self._lock:
            self.check()
            self._committed = False

    def check(self) -> None:
        """Raise WorkGivenUp where nobody waits for it any more."""
        if self._given_up:
            raise WorkGivenUp

    @contextmanager
    def committing(self) -> Iterator[None]:
        """The time of a commit, in which it is not given up."""
        with self._lock:
            self.check()
            self._committed = True
        try:
            yield
        except BaseException:
            with self._lock:
                self._committed = False
            raise


# That of the request that this thread or task works for; None where there is none, as in the watcher.
CURRENT_WORK: ContextVar[Work | None] = ContextVar("work", default=None)


def check_work() -> None:
    """Raise WorkGivenUp where the work at hand has been given up."""
    work = CURRENT_WORK.get()
    if work is not None:
        work.check()


def begin_work() -> None:
    """Take note that a transaction begins for the work at hand; raise WorkGivenUp where that has been given up."""
    work = CURRENT_WORK.get()
    if work is not None:
        work.begin()


@contextmanager
def committing() -> Iterator[None]:
    """The time of a commit, in which the work at hand, if any, is not given up."""
    work = CURRENT_WORK.get()
    if work is None:
        yield
        return
    with work.committing():
        yield
