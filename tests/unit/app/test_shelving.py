"""Names that workflows can have."""

from __future__ import annotations

import pytest

from callsheet.app.shelving import checked_name
from callsheet.errors import UsageError

UNFIT = ("", " x", "x ", "a:b", "/etc", "a/b", "x.js", "..", "-x", "a\nb", "\u202ex", "x" * 101)


@pytest.mark.parametrize("name", UNFIT)
def test_a_name_that_nobody_can_type_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="workflow"):
        checked_name(name)


@pytest.mark.parametrize("name", ["x", "review-changes", "two words", "größe", "x" * 100])
def test_other_names_are_taken_as_they_are(name: str) -> None:
    assert checked_name(name) == name
