"""JSON as text that a host may print."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from callsheet.mcp_server.wording import json_text
from callsheet.views.safe_text import visible


@settings(max_examples=40)
@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.dictionaries(st.text(), inner, max_size=3), max_leaves=4
    )
)
def test_it_is_the_same_json_and_nothing_in_it_hides_or_acts(value: object) -> None:
    text = json_text(value)
    assert json.loads(text) == value
    assert visible(text) == text


def test_letters_of_any_language_stay_as_they_are() -> None:
    assert json_text("Grüße 世界 🎉") == '"Grüße 世界 🎉"'
