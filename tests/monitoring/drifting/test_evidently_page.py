"""Evidently's page as Ringside keeps it: its data stay data, and only its own scripts carry the nonce."""

from __future__ import annotations

import base64
import gzip
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.drifting.evidently_page import contain

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def page_of(data: object, graphs: object) -> str:
    """As Evidently writes it."""
    return (
        "<html><head><meta charset='UTF-8'>\n<script>\n    var d_1 = "
        f"{json.dumps(data)};\n    var additional_graphs_d_1 = {json.dumps(graphs)};\n</script></head>"
        "<body><script>var library = '<script>';</script><script>draw(d_1)</script></body></html>"
    )


@given(JSON, JSON)
def test_whatever_the_data_are_they_hold_nothing_that_html_knows_and_say_the_same(data: object, graphs: object) -> None:
    page = contain(page_of(data, graphs))
    found = re.search(r"var d_1 = (.*);\n    var additional_graphs_d_1 = (.*);\n</script></head>", page)
    assert found is not None
    for text, value in zip(found.groups(), (data, graphs), strict=True):
        assert not set("<>&") & set(text)
        assert json.dumps(json.loads(text)) == json.dumps(value)


@pytest.mark.parametrize("value", ["</script><script>x</script>", "<!--<script>", "]]>", "</SCRIPT >"])
def test_scripts_are_those_that_were_there(value: str) -> None:
    page = contain(page_of({value: [value]}, {value: value}))
    (nonce,) = set(re.findall(r"<script nonce=([0-9a-f]{32})>", page))
    assert page.count(f"<script nonce={nonce}>") == 4  # the fourth is a word of the library's, in a string
    assert page.count("</script>") == 3
    assert f"script-src 'nonce-{nonce}'" in page
    assert nonce not in contain(page_of(1, 2)), "each page has its own"


def test_the_library_is_compressed_and_loaded_before_what_calls_it() -> None:
    library = "var a=Object.defineProperty;" + "draw(1,'<\\/script>','é');" * 1000
    draw = "\n    window.drawDashboard(d_1)\n"
    made = page_of({"a": 1}, {})
    head, _, _ = made.partition("<body>")
    page = contain(f"{head}<body><script>{library}</script>\n <script>{draw}</script>\n</body></html>")
    assert len(page) < 5_000
    assert library not in page
    loader = re.search(r'\(document\.currentScript\.nonce, "([^"]+)", (".*?")\)\.catch', page)
    assert loader is not None
    assert gzip.decompress(base64.b64decode(loader[1])).decode() == library
    assert json.loads(loader[2]) == draw
    assert page.endswith("</script>\n</body></html>")


@pytest.mark.parametrize("page", ["", "<head></head>", "<script>\nvar a = 1;</script>", "<head><script>\nvar a = 1; x"])
def test_a_page_that_is_made_in_another_way_is_refused_and_not_passed_on(page: str) -> None:
    """Evidently has changed: better no page than one that runs what callers sent."""
    with pytest.raises(ValueError, match="not a page of Evidently's"):
        contain(page)
