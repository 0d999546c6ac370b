"""What a page may do in a browser, said in the page itself: it is opened from files and mails as often as served."""

from __future__ import annotations

from typing import Final

# A page of ours is text, style and pictures. Whatever else got into it does not run, and nothing leaves it.
PAGE_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def policy_tag(policy: str = PAGE_POLICY) -> str:
    """The element that holds the page's content security policy; it belongs before everything that it is to bind."""
    return f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
