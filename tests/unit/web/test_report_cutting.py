"""What is too long for a report is cut, fairly, and says so."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from callsheet.web.bundle import PAGE, embedded_json, page_with
from callsheet.web.cutting import cut_page, cut_text, fair_share, keep_last


def _page(messages: int, chars: int) -> dict[str, Any]:
    part = {"kind": "text", "text": "x" * chars, "tool": None, "failed": False}
    said = [{"n": n, "role": "user", "attempt": 1, "person": None, "parts": [part]} for n in range(1, messages + 1)]
    return {"prompt": "p" * chars, "result": None, "options": {}, "files_read": [], "files_changed": [], "tools": [],
            "messages": said}  # fmt: skip


def _bytes(page: dict[str, Any]) -> int:
    return len(embedded_json(page))


@settings(deadline=None)
@given(st.lists(st.integers(0, 5_000), max_size=40), st.integers(0, 60_000))
def test_shares_keep_to_the_total_and_the_small_ones_are_whole(sizes: list[int], total: int) -> None:
    share = fair_share(sizes, total)
    if share is None:
        assert sum(sizes) <= total
    else:
        assert sum(min(each, share) for each in sizes) <= total
        assert sum(sizes) > total
        assert sum(min(each, share + 1) for each in sizes) > total


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 300), st.integers(0, 3_000), st.integers(1_200, 60_000))
def test_a_cut_page_fits_says_so_and_keeps_both_ends(messages: int, chars: int, limit: int) -> None:
    page = _page(messages, chars)
    found = cut_page(page, limit, see="callsheet show", whole=_bytes(page), measure=_bytes)
    assert _bytes(found) <= limit
    assert found["cut"]["see"] == "callsheet show"
    kept = [message["n"] for message in found["messages"]]
    assert kept == sorted(kept)
    if kept:
        assert (kept[0], kept[-1]) == (1, messages)


def test_a_page_is_measured_a_few_times_however_much_of_it_has_to_go() -> None:
    measured: list[int] = []

    def measure(page: dict[str, Any]) -> int:
        measured.append(_bytes(page))
        return measured[-1]

    for limit in (2_000, 20_000, 100_000):
        measured.clear()
        cut_page(_page(100, 3_000), limit, see="callsheet show", whole=1, measure=measure)
        assert len(measured) <= 4


def test_a_text_says_how_much_of_it_is_missing() -> None:
    assert cut_text("abcdef", 6) == "abcdef"
    assert cut_text("abcdef", 2) == "ab… (4 more characters)"
    assert cut_text(None, 2) is None
    assert keep_last(["a", "b", "c"], 8) == ["b", "c"]


@settings(max_examples=40, deadline=None)
@given(
    st.recursive(
        st.text() | st.none() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_json_in_a_page_is_the_same_json_and_cannot_end_its_element(value: Any) -> None:
    text = embedded_json(value)
    assert json.loads(text) == value
    assert not set("<>&\u2028\u2029\u202e").intersection(text)
    text.encode()


def test_a_page_is_one_file_of_which_nothing_is_left_to_fetch() -> None:
    html = page_with({"a": "</script><script>alert(1)</script>"}, title="<b>&")
    assert "<title>&lt;b&gt;&amp;</title>" in html
    assert html.count("<script") == 2
    assert "/assets/" not in html
    for module in PAGE.glob("*.js"):
        assert f"page_{module.stem} = " in html


def test_the_page_never_makes_markup_of_text() -> None:
    for module in PAGE.glob("*.js"):
        text = module.read_text("utf-8")
        for way in (
            "innerHTML",
            "outerHTML",
            "insertAdjacent",
            "document.write",
            "eval(",
            "new Function",
            "DOMParser",
            "http:",
        ):
            assert way not in text.replace("http://www.w3.org/2000/svg", ""), (module.name, way)
        if module.name != "dom.js":
            for way in ("createElement", "createTextNode", 'setAttribute("on', ".href ="):
                assert way not in text, (module.name, way)
