"""Where agents are said to depend on no answer, they are the same for any answers, whatever a script does with them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from callsheet.model.sandbox import AgentCalled, Threw
from callsheet.model.values import JsonValue
from callsheet.script.reader import read_script
from callsheet.script.shape import shape_of
from tests.support.deadline import within
from tests.support.drive import drive
from tests.support.examples import times

META = "export const meta = { name: 'case', description: 'a case' }\n"

NAMES = ("a", "b", "c")
ANSWERS: tuple[JsonValue, ...] = (
    {"ok": True, "n": 3, "items": [{"n": 1}, {"n": 2}], "s": "long text"},
    {"ok": False, "n": 0, "items": [], "s": ""},
)

name = st.sampled_from(NAMES)


def _expressions() -> st.SearchStrategy[str]:
    """Expressions over three arrays: what is read of them, and what is made of them."""
    number = st.one_of(
        st.integers(0, 3).map(str),
        name.map(lambda held: f"{held}.length"),
        name.map(lambda held: f"({held}[0]?.n ?? 1)"),
    )
    condition = st.one_of(
        number.map(lambda left: f"{left} > 1"),
        name.map(lambda held: f"{held}[0]?.ok"),
        name.map(lambda held: f"{held}.some(x => x.ok)"),
        st.sampled_from(["true", "args.length > 1"]),
    )
    array = st.one_of(
        name,
        st.just("args"),
        name.map(lambda held: f"{held}.map(x => ({{ n: x.n }}))"),
        name.map(lambda held: f"{held}.filter(x => x.ok)"),
        name.map(lambda held: f"{held}.filter(Boolean)"),
        name.map(lambda held: f"{held}.slice(0, 2)"),
        name.map(lambda held: f"[...{held}, {{ n: 1 }}]"),
        name.map(lambda held: f"{held}.flatMap(x => x.items ?? [])"),
        name.map(lambda held: f"(await parallel({held}.slice(0, 3).map(x => () => agent('each ' + x.n, S))))"),
        name.map(lambda held: f"(await pipeline({held}.slice(0, 2), x => agent('p', S), r => r.ok ? r : null))"),
        st.just("[await agent('one', S)]"),
        condition.map(lambda test: f"({test} ? [{{ n: 1 }}] : [])"),
    )
    return st.one_of(
        st.tuples(name, array).map(lambda pair: f"{pair[0]} = {pair[1]}"),
        st.tuples(name, array).map(lambda pair: f"{pair[0]}.push(...{pair[1]}.slice(0, 2))"),
        st.tuples(name, number).map(lambda pair: f"{pair[0]}.push({{ n: {pair[1]} }})"),
        st.tuples(name, name).map(lambda pair: f"add({pair[0]}, {pair[1]}[0])"),
        condition.map(lambda test: f"if ({test}) return 'early'"),
        condition.map(lambda test: f"{test} && await agent('and', S)"),
        array.map(lambda held: f"for (const x of ({held}).slice(0, 3)) await agent('of ' + x.n, S)"),
        number.map(lambda count: f"for (let i = 0; i < Math.min(3, {count}); i++) await agent('i' + i, S)"),
        st.tuples(condition, name).map(lambda pair: f"if ({pair[0]}) {pair[1]} = [{{ n: 2 }}]"),
        st.tuples(condition, name).map(lambda pair: f"if ({pair[0]}) add({pair[1]}, {{ n: 2 }})"),
        name.map(lambda held: f"await helper({held}[0])"),
        st.just("alias.push({ n: 5 })"),
        condition.map(lambda test: f"if ({test}) alias.push({{ n: 5 }})"),
        condition.map(lambda test: f"phase({test} ? 'x' : 'y')"),
    )


bodies = st.lists(_expressions(), min_size=2, max_size=7).map(
    lambda lines: "\n".join(
        [
            "const S = { schema: { type: 'object' } }",
            "let a = [], b = args.map(n => ({ n })), c = []",
            "const alias = b",
            "const add = (list, item) => { if (item) list.push(item) }",
            "async function helper(x) { if (x && x.ok) return agent('helped', S); return x }",
            *lines,
            "return await agent('last', S)",
        ]
    )
)


async def _called(body: str, answer: JsonValue) -> Counter[tuple[Any, ...]] | None:
    """The calls of a script, by phase, model and place; None where it threw, of which nothing is said."""
    with within(30):
        driven = await drive(body, answer=lambda call: answer, args_json="[1, 2]")
    if isinstance(driven.end, Threw):
        return None
    calls = [message for message in driven.messages if isinstance(message, AgentCalled)]
    return Counter((call.phase, call.options.get("model"), call.line) for call in calls)


@example(
    body="let a = []\nconst b = a\nconst r = await agent('x')\nif (r.ok) b.push(1)\nfor (const x of a) await agent('y')"
)
@settings(max_examples=times(20), deadline=None, suppress_health_check=list(HealthCheck))
@given(body=bodies)
def test_agents_that_are_said_to_depend_on_no_answer_are_the_same_for_all(body: str) -> None:
    shape = shape_of(read_script((META + body).encode(), origin="case.js", path=None))
    if not shape.is_fixed:
        return
    first, second = (anyio.run(_called, body, answer) for answer in ANSWERS)
    assert first is None or second is None or first == second


def test_the_scripts_tried_are_of_both_kinds() -> None:
    """Else the property would hold for nothing."""
    fixed = "let b = args.map(n => ({ n }))\nfor (const x of b) await agent('x')"
    decided = "const r = await agent('x')\nif (r.ok) await agent('y')"
    shapes = [shape_of(read_script((META + body).encode(), origin="case.js", path=None)) for body in (fixed, decided)]
    assert [shape.is_fixed for shape in shapes] == [True, False]


@pytest.mark.anyio
async def test_the_two_answers_do_lead_to_other_agents_where_a_script_lets_them() -> None:
    body = "const r = await agent('x')\nif (r.ok) await agent('y')"
    assert await _called(body, ANSWERS[0]) != await _called(body, ANSWERS[1])
