"""The offline agent: it really looks at the workspace, says what it is, and is the same each time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from callsheet.agents.offline import OfflineBackend
from callsheet.agents.offline.author import script_text
from callsheet.agents.offline.findings import Search
from callsheet.agents.offline.model import DISCLAIMER
from callsheet.answers.schema import AnswerSchema
from callsheet.model.call import AgentType
from callsheet.model.outcome import AgentOutcome
from callsheet.model.reports import ToolCalled
from callsheet.model.spending import Budget
from tests.support.agents import RecordingReporter, agent_task
from tests.support.deadline import within

pytestmark = pytest.mark.anyio

FINDINGS: dict[str, Any] = {
    "type": "object",
    "required": ["findings", "done"],
    "properties": {
        "done": {"type": "boolean"},
        "findings": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["file", "line", "quote", "severity", "id"],
                "properties": {
                    "file": {"type": "string"},
                    "line": {"type": "integer"},
                    "quote": {"type": "string", "maxLength": 40},
                    "severity": {"enum": ["low", "high"]},
                    "id": {"type": "string", "pattern": "^F[0-9]+$"},
                },
            },
        },
    },
}


def put(root: Path, files: dict[str, str]) -> Path:
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content, encoding="utf-8")
    return root


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return put(
        tmp_path / "shop",
        {
            "cart.py": "import decimal\n\ndef checkout(cart):\n    return sum(cart.prices)\n",
            "stock.py": "def reserve(item):\n    # inventory is counted twice\n    return item.count * 2\n",
            "README.md": "# Shop\n\nSells things.\n",
        },
    )


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    return put(
        tmp_path / "zoo",
        {
            "animals/lion.ts": "export function checkout(lion) { return lion.roar() }\n",
            "animals/stock.ts": "// the inventory of hay\nexport const hay = 3\n",
        },
    )


def test_a_script_is_named_for_what_the_task_is_about_and_not_for_the_word_that_asks_for_it() -> None:
    for task, name in (
        ("Write a workflow that reviews src/cart.py", "reviews-cart"),
        ("workflow: count the invoices", "count-invoices"),
        ("please create me a workflow script which tidies the manual", "tidies-manual"),
        ("ultracode", "task"),
        ("review the workflow engine", "review-workflow-engine"),
    ):
        text = script_text(Search(prompt=task, files=(), matches=()), task)
        assert f'name: "{name}"' in text


async def ask(root: Path, prompt: str, **options: Any) -> AgentOutcome:
    backend = OfflineBackend()
    with within(20):
        outcome = await backend.run(agent_task(root, prompt, **options), RecordingReporter())
        await backend.aclose()
    assert outcome.status == "ok", outcome.error
    return outcome


async def test_two_prompts_over_two_repositories_name_and_quote_different_real_files(shop: Path, zoo: Path) -> None:
    answers = {
        (root.name, prompt): str((await ask(root, prompt)).value)
        for root in (shop, zoo)
        for prompt in ("Explain the checkout.", "Is the inventory right?")
    }
    assert len(set(answers.values())) == 4
    assert "cart.py:3: `def checkout(cart):`" in answers["shop", "Explain the checkout."]
    assert "stock.py:2: `# inventory is counted twice`" in answers["shop", "Is the inventory right?"]
    assert "animals/lion.ts:1: `export function checkout(lion)" in answers["zoo", "Explain the checkout."]
    assert "animals/stock.ts:1: `// the inventory of hay`" in answers["zoo", "Is the inventory right?"]


async def test_a_text_says_first_that_no_model_is_behind_it(shop: Path) -> None:
    outcome = await ask(shop, "Explain the checkout.")
    assert str(outcome.value).startswith(DISCLAIMER)
    assert outcome.model == "offline"


async def test_it_really_uses_the_tools(shop: Path) -> None:
    backend, reporter = OfflineBackend(), RecordingReporter()
    with within(20):
        outcome = await backend.run(agent_task(shop, "Explain the checkout."), reporter)
        await backend.aclose()
    assert outcome.tools_called == ("glob", "grep", "read")
    assert "cart.py" in outcome.files_read
    assert all(call.state == "done" for call in reporter.of(ToolCalled))
    assert sum(message["role"] == "assistant" for message in reporter.messages) == 3


async def test_a_file_named_in_the_task_is_looked_at_first(shop: Path) -> None:
    assert "README.md:1: `# Shop`" in str((await ask(shop, "Summarise README.md please")).value)


async def test_the_same_task_in_the_same_workspace_gets_the_same_answer(shop: Path) -> None:
    first, second = [await ask(shop, "Explain the checkout.") for _ in range(2)]
    assert first == second
    assert first.usage.input_tokens > 0
    assert first.usage.output_tokens > 0
    assert first.usage.cost_usd == 0.0


async def test_an_answer_has_the_schemas_shape_and_holds_what_was_found(shop: Path) -> None:
    outcome = await ask(shop, "Is the inventory counted right?", schema=FINDINGS)
    value: Any = outcome.value
    assert AnswerSchema.compile(FINDINGS).accepts(value)
    first = value["findings"][0]
    assert (first["file"], first["line"]) == ("stock.py", 2)
    assert first["quote"] == "# inventory is counted twice"
    assert first["severity"] == "low"
    assert value["findings"][1]["file"] != "stock.py", "two findings name two files"
    assert outcome.attempts == 1


async def test_loops_that_ask_until_nothing_is_found_end(shop: Path) -> None:
    backend = OfflineBackend()
    answers: list[Any] = []
    with within(30):
        for n in range(5):
            task = agent_task(shop, f"Find more, round {n}", label=f"find:{n}", schema=FINDINGS)
            answers.append((await backend.run(task, RecordingReporter())).value)
        other = await backend.run(agent_task(shop, "Check", label="check", schema=FINDINGS), RecordingReporter())
        await backend.aclose()
    assert [bool(answer["findings"]) for answer in answers] == [True, True, True, False, False]
    assert answers[4]["done"] is False
    assert other.value is not None
    assert other.value["findings"], "another sort of call counts for itself"  # type: ignore[call-overload, index]


@pytest.mark.parametrize("tools", [(), ("read",), ("glob",), ("grep",)])
async def test_it_answers_with_whatever_tools_are_left(shop: Path, tools: tuple[str, ...]) -> None:
    outcome = await ask(shop, "Explain the checkout.", tools=tools)
    assert str(outcome.value).startswith(DISCLAIMER)
    assert set(outcome.tools_called) <= set(tools)


async def test_an_empty_workspace_is_answered_too(tmp_path: Path) -> None:
    assert "nothing" in str((await ask(tmp_path, "Do it")).value).lower()


async def test_a_schema_whose_root_has_alternatives_is_answered_in_shape(shop: Path) -> None:
    schema = {"type": "object", "properties": {"b": {"type": "string"}}, "anyOf": [{"required": ["b"]}]}
    outcome = await ask(shop, "Explain the checkout.", schema=schema)
    assert AnswerSchema.compile(schema).accepts(outcome.value)  # type: ignore[arg-type]


async def test_agents_take_turns_and_can_be_cancelled(shop: Path) -> None:
    backend = OfflineBackend()
    kind = AgentType(name="k", description="d", tools=())
    ended: list[int] = []

    async def one(n: int) -> None:
        await backend.run(agent_task(shop, f"Task {n}", kind=kind), RecordingReporter())
        ended.append(n)

    with within(20):
        await backend.warm()
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                for n in range(20):
                    group.start_soon(one, n)
                await anyio.lowlevel.checkpoint()
                scope.cancel()
        await backend.aclose()
    assert ended == [], "no agent runs to its end without letting others run"


async def test_a_model_that_nobody_knows_changes_nothing_for_the_offline_agent(shop: Path) -> None:
    backend = OfflineBackend()
    with within():
        outcome = await backend.run(agent_task(shop, "What does checkout do?", model="unheard"), RecordingReporter())
    await backend.aclose()
    assert outcome.status == "ok"


@pytest.mark.contract("G04")
@pytest.mark.parametrize("most", [5, 60])
async def test_a_budget_holds_for_it_too(shop: Path, most: int) -> None:
    backend = OfflineBackend()
    reporter = RecordingReporter(budget=Budget(tokens=most))
    with within():
        outcome = await backend.run(agent_task(shop, "Look at everything"), reporter)
        await backend.aclose()
    assert outcome.status == "over_budget"
    assert 0 < outcome.usage.output_tokens <= most
