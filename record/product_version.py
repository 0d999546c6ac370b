"""Which Ringside this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def product_version() -> str:
    """The installed package's version; "0" inside a Bento, where there is none."""
    try:
        return version("ringside")
    except PackageNotFoundError:
        return "0"
