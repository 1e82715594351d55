"""Of routes the first one that means a call and says something counts, whatever the others are."""

from __future__ import annotations

from fnmatch import fnmatchcase

from hypothesis import given
from hypothesis import strategies as st

from callsheet.engine.routing import route_of
from callsheet.model.policy import ORCHESTRATOR, Route

NAMES = st.text("ab:", min_size=1, max_size=4)
PATTERNS = NAMES | st.text("ab:*?[]!", min_size=1, max_size=4) | st.just(ORCHESTRATOR)
ROUTES = st.lists(
    st.builds(
        Route,
        pattern=PATTERNS,
        model=st.sampled_from([None, "haiku", "opus"]),
        effort=st.sampled_from([None, "low", "max"]),
        speed=st.sampled_from([None, "fast", "standard"]),
    ),
    max_size=6,
)


def _means(route: Route, label: str, phase: str | None) -> bool:
    texts = [text for text in (phase, label) if text is not None]
    return route.pattern != ORCHESTRATOR and any(
        route.pattern == text or fnmatchcase(text, route.pattern) for text in texts
    )


@given(ROUTES, NAMES, st.none() | NAMES)
def test_each_part_is_that_of_the_first_route_that_says_it(routes: list[Route], label: str, phase: str | None) -> None:
    found = route_of(routes, label=label, phase=phase)

    for part in ("model", "effort", "speed"):
        said = [value for route in routes if _means(route, label, phase) and (value := getattr(route, part))]
        assert getattr(found, part) == (said[0] if said else None)


@given(ROUTES, ROUTES, NAMES, st.none() | NAMES)
def test_what_stands_later_never_changes_what_stands_before_it_says(
    first: list[Route], later: list[Route], label: str, phase: str | None
) -> None:
    before = route_of(first, label=label, phase=phase)
    after = route_of([*first, *later], label=label, phase=phase)

    for part in ("model", "effort", "speed"):
        assert getattr(before, part) in (None, getattr(after, part))
