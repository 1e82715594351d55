"""Option order never matters to a key, whatever the options are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from callsheet.engine.keys import call_key
from callsheet.engine.options import check_options
from callsheet.model.call import AgentType
from callsheet.model.values import JsonValue

JSON: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
OPTIONS: st.SearchStrategy[dict[str, JsonValue]] = st.fixed_dictionaries(
    {},
    optional={
        "label": st.text(max_size=20),
        "phase": st.text(max_size=20),
        "schema": st.dictionaries(st.text(max_size=5), JSON, max_size=4),
        "tools": st.lists(st.text(min_size=1, max_size=5), max_size=4),
        "context": st.text(max_size=20),
        "effort": st.sampled_from(["low", "HIGH", "Max"]),
        "isolation": st.just("worktree"),
        "priority": st.integers(-5, 5),
        "maxTurns": st.integers(1, 9),
        "settle": st.booleans(),
    },
)
TYPE = AgentType(name="general-purpose", description="anything")


def key(given_options: dict[str, JsonValue], prompt: str) -> str:
    options = check_options(given_options)
    return call_key(
        prompt=prompt, options=options, agent_type=TYPE, model=None, effort=options.effort, backend="fake", cwd="."
    )


def turned(value: JsonValue) -> JsonValue:
    """The same value with the keys of every object in the opposite order."""
    if isinstance(value, dict):
        return {name: turned(value[name]) for name in reversed(value)}
    return [turned(one) for one in value] if isinstance(value, list) else value


@given(options=OPTIONS, prompt=st.text())
def test_the_order_of_options_and_of_their_keys_never_matters(options: dict[str, JsonValue], prompt: str) -> None:
    other_way_round = turned(options)
    assert isinstance(other_way_round, dict)
    assert key(options, prompt) == key(other_way_round, prompt)


@given(options=OPTIONS, prompt=st.text())
def test_label_phase_priority_limits_and_settle_never_matter(options: dict[str, JsonValue], prompt: str) -> None:
    aside = ("label", "phase", "priority", "maxTurns", "settle")
    assert key(options, prompt) == key({name: one for name, one in options.items() if name not in aside}, prompt)


@given(one=st.text(), two=st.text())
def test_two_prompts_have_one_key_only_if_they_are_one(one: str, two: str) -> None:
    assert (key({}, one) == key({}, two)) == (one == two)
