"""What a script says literally in its calls, for the tries before any money is spent."""

from __future__ import annotations

import pytest

from callsheet.model.values import JsonValue
from callsheet.script.literals import literal_uses
from tests.unit.script.samples import script


def uses(body: str) -> list[tuple[str, JsonValue, str]]:
    return [(use.kind, use.value, str(use.place)) for use in literal_uses(script(body))]


@pytest.mark.contract("A07", "A09")
def test_options_of_calls_are_given_with_their_places_in_order() -> None:
    body = (
        "await agent('é', { model: 'opus', effort: `high`,\n  agentType: \"Explore\", isolation: 'worktree' })\n"
        "await spawnAgent({ prompt: 'x', model: 'haiku' })\nawait spawnAgent('x', { 'effort': 'low' })"
    )
    assert uses(body) == [
        ("model", "opus", "2:27"),
        ("effort", "high", "2:43"),
        ("agent_type", "Explore", "3:14"),
        ("isolation", "worktree", "3:36"),
        ("model", "haiku", "4:40"),
        ("effort", "low", "5:35"),
    ]


@pytest.mark.contract("W02")
def test_names_of_workflows_are_given() -> None:
    assert uses("await workflow('other', { a: 1 })") == [("workflow", "other", "2:16")]
    assert uses("await workflow({ scriptPath: 'x.js' })") == []
    assert uses("await workflow(args.name)") == []


@pytest.mark.contract("A04")
def test_schemas_are_given_whole_and_once_for_each_place_where_they_are_written() -> None:
    body = (
        "const ITEM = { type: 'string', minLength: 1 }\n"
        "const SCHEMA = { type: 'object', properties: { items: { type: 'array', items: ITEM } } }\n"
        "await agent('x', { schema: SCHEMA })\nawait agent('y', { schema: SCHEMA })\n"
        "await agent('z', { schema: { type: 'array' } })"
    )
    assert uses(body) == [
        (
            "schema",
            {"type": "object", "properties": {"items": {"type": "array", "items": {"type": "string", "minLength": 1}}}},
            "3:16",
        ),
        ("schema", {"type": "array"}, "6:28"),
    ]


def test_constants_and_shorthands_are_followed() -> None:
    body = "const model = 'opus'\nconst OPTIONS = { model, effort: 'low' }\nawait agent('x', OPTIONS)"
    assert uses(body) == [("model", "opus", "2:15"), ("effort", "low", "3:34")]


@pytest.mark.parametrize(
    "body",
    [
        "await agent('x', { model: args.model, schema: make(), effort: args ? 'low' : 'high' })",
        "await agent('x', { schema: { ...BASE } }); const BASE = {}",
        "await agent('x', { schema: { type: args } })",
        "let model = 'opus'; model = 'haiku'; await agent('x', { model })",
        "function f(model) { return agent('x', { model }) } const g = () => { const model = 'a'; return model }",
        "function f() { const args = 'opus'; return args } await agent('x', { model: args })",
        "const S = { type: 'object' }; S.required = ['a']; await agent('x', { schema: S })",
        "const S = { type: 'object', required: [] }; S.required.push('a'); await agent('x', { schema: S })",
        "const S = { type: 'object' }; S['x'] = 1; await agent('x', { schema: S })",
        "const S = { type: 'object' }; Object.assign(S, args); await agent('x', { schema: S })",
        "const S = { type: 'object' }; delete S.type; await agent('x', { schema: S })",
        "const agent = (p, o) => o; agent('x', { model: 'opus' })",
        "await agent('x', { ...{ model: 'opus' } })",
        "await other('x', { model: 'opus' })",
        "const a = { x: b }, b = { y: a }; await agent('x', { schema: a })",
        "await agent(...args, { model: 'opus' })",
        "await agent('x', { model: undefined, schema: undefined })",
        "await agent('x', { model: 5 })",
    ],
)
def test_what_is_not_surely_a_literal_is_left_out(body: str) -> None:
    assert uses(body) == []


def test_constants_that_hold_each_other_many_times_cannot_make_it_large() -> None:
    body = "".join(f"const a{n} = [a{n + 1}, a{n + 1}, a{n + 1}, a{n + 1}]\n" for n in range(40))
    assert uses(body + "const a40 = 1\nawait agent('x', { schema: a0 })") == []
