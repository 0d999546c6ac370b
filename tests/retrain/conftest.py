"""One thread for every model: beside other tests, OpenMP's threads wait for each other, ten times slower than one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    import sklearn.ensemble  # noqa: F401 - only libraries that are loaded can be limited

    with threadpool_limits(limits=1):
        yield
