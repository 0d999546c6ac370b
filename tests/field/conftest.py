"""One thread for every model, as the tests of the retrain job have it."""

from __future__ import annotations

from tests.retrain.conftest import one_thread

__all__ = ["one_thread"]
