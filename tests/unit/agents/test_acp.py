"""The backend `acp:NAME`, against a small real agent over its pipes (tests/support/acp_agent.py)."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from callsheet.agents.acp import AcpBackend
from callsheet.agents.tools.bounds import Bounds
from callsheet.confinement.unconfined import Unconfined
from callsheet.errors import BackendUnavailableError
from callsheet.model.approval import Answer
from callsheet.model.call import AcpProgram, AgentType, Scope
from callsheet.model.outcome import AgentOutcome
from callsheet.model.reports import Progress, Remark, ToolCalled, Touched
from callsheet.model.spending import Budget
from tests.support.agents import RecordingReporter, agent_task
from tests.support.deadline import BUSY_S, within
from tests.support.workbench import appears

pytestmark = pytest.mark.anyio

AGENT = Path(__file__).parents[2] / "support" / "acp_agent.py"
SCHEMA = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
YES, NO = Answer(verdict="once"), Answer(verdict="deny")


def steps(*each: list[Any]) -> str:
    return f"Do it.\nDO: {json.dumps(each)}"


async def run(
    root: Path,
    *each: list[Any],
    reporter: RecordingReporter | None = None,
    bounds: Bounds | None = None,
    words: tuple[str, ...] = (),
    environ: Mapping[str, str] | None = None,
    environment: tuple[str, ...] = (),
    program: str | None = None,
    timeout_s: float | None = None,
    **options: Any,
) -> AgentOutcome:
    command = (sys.executable, program or str(AGENT), *words)
    backend = AcpBackend(
        "small",
        AcpProgram(command=command, environment=environment),
        bounds=bounds or Bounds(unconfined=True, home=root.parent / "home"),
        environ=environ,
        timeout_s=timeout_s,
    )
    with within(30):
        return await backend.run(agent_task(root, steps(*each), **options), reporter or RecordingReporter())


def calls(reporter: RecordingReporter) -> list[tuple[str, str]]:
    return [(call.tool, call.state) for call in reporter.of(ToolCalled)]


async def test_what_it_says_last_is_the_answer_and_the_conversation_is_kept(tmp_path: Path) -> None:
    reporter = RecordingReporter()
    outcome = await run(
        tmp_path,
        ["think", "hm"],
        ["say", "looking"],
        ["plan", "read it", "say it"],
        ["permission", {"kind": "think"}],
        ["stop", "end_turn"],
        reporter=reporter,
    )
    assert (outcome.status, outcome.value, outcome.error) == ("ok", "yes", None)
    kept = [(message["role"], [block["type"] for block in message["content"]]) for message in reporter.messages]
    assert kept == [("user", ["text"]), ("assistant", ["thinking", "text"]), ("assistant", ["text"])]
    plans = [report.tool_summary for report in reporter.of(Progress) if report.tool == "plan"]
    assert plans == ["0 of 2 done: read it"]


async def test_it_is_told_what_every_agent_is_told_with_its_type_and_shared_context(tmp_path: Path) -> None:
    kind = AgentType(name="reviewer", description="", system_prompt="You review.")
    outcome = await run(tmp_path, words=("echo",), kind=kind, context="shared")
    told = str(outcome.value)
    places = [told.index(each) for each in ("You are an agent in an automated", "You review.", "shared", "Do it.")]
    assert places == sorted(places)
    assert f"Working folder: {tmp_path}" in told


async def test_files_are_read_and_written_by_us_and_recorded(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n", encoding="utf-8")
    reporter = RecordingReporter()
    outcome = await run(
        tmp_path,
        ["read", str(tmp_path / "a.txt")],
        ["write", str(tmp_path / "new" / "b.txt"), "written"],
        ["write", str(tmp_path / "a.txt"), "over"],
        reporter=reporter,
        bounds=bypassing(tmp_path),
    )
    assert outcome.value == '{"content": "one\\ntwo\\n"}{}{}'
    assert (tmp_path / "new" / "b.txt").read_text(encoding="utf-8") == "written"
    assert outcome.files_read == ("a.txt",)
    assert outcome.files_changed == ("a.txt", "new/b.txt")
    assert calls(reporter) == [
        ("read", "done"),
        ("write", "intent"),
        ("write", "done"),
        ("write", "intent"),
        ("write", "done"),
    ]


def bypassing(root: Path, **more: Any) -> Bounds:
    """Bounds of a run in which only protected places and what rules deny are kept from agents."""
    from callsheet.permissions.modes import Mode
    from callsheet.permissions.sources import PermissionSettings

    settings = PermissionSettings(mode=Mode.ACCEPT_EDITS)
    return Bounds(settings=settings, home=root.parent / "home", **{"unconfined": True, **more})


async def test_a_file_that_changed_since_it_was_read_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one", encoding="utf-8")
    outcome = await run(
        tmp_path, ["read", str(path)], ["touch", "a.txt"], ["write", str(path), "two"], bounds=bypassing(tmp_path)
    )
    assert "changed" in str(outcome.value)
    assert path.read_text(encoding="utf-8") == "by itself"


async def test_what_it_changes_by_itself_is_known_at_its_end(tmp_path: Path) -> None:
    assert (await run(tmp_path, ["touch", "mine.txt"], ["say", "done"])).files_changed == ("mine.txt",)


ASKED: list[tuple[dict[str, Any], str, str]] = [
    ({"kind": "execute", "rawInput": {"command": "curl", "args": ["a b"]}}, "bash", "curl 'a b'"),
    ({"kind": "execute", "rawInput": {"command": ["npm", "test"]}}, "bash", "npm test"),
    ({"kind": "fetch", "rawInput": {"url": "https://example.com/x"}}, "web_fetch", "https://example.com/x"),
    ({"kind": "delete", "rawInput": {"path": "/etc/passwd"}}, "write", "/etc/passwd"),
    ({"kind": "move", "locations": [{"path": "a"}]}, "mcp__acp-small__move", "a tool"),
    ({"kind": "execute", "title": "ls"}, "mcp__acp-small__execute", "ls"),
    ({"kind": "switch_mode", "rawInput": {"to": "yolo"}}, "mcp__acp-small__switch_mode", 'a tool {"to": "yolo"}'),
    ({"kind": "other"}, "mcp__acp-small__other", "a tool"),
    ({"kind": "new kind!"}, "mcp__acp-small__new-kind-", "a tool"),
]


async def test_what_no_rule_allows_is_asked_in_the_terms_of_our_tools_and_denied_where_nobody_is(
    tmp_path: Path,
) -> None:
    wanted = [["permission", call] for call, _, _ in ASKED]
    asked, nobody = RecordingReporter(*[YES] * len(ASKED)), RecordingReporter()
    await run(tmp_path, *wanted, reporter=asked)
    await run(tmp_path, *wanted, reporter=nobody)
    assert [(each.tool, each.input) for each in asked.questions] == [(tool, shown) for _, tool, shown in ASKED]
    assert [state for _, state in calls(asked)] == ["intent", "done"] * len(ASKED)
    assert [state for _, state in calls(nobody)] == ["intent", "denied"] * len(ASKED)


async def test_outside_the_workspace_nothing_is_allowed_where_nobody_is_asked(tmp_path: Path) -> None:
    reporter = RecordingReporter()
    (tmp_path / "link").symlink_to("/etc")
    places = ("/etc/passwd", "../beside", "link/passwd")
    await run(
        tmp_path,
        *(["permission", {"kind": "edit", "locations": [{"path": place}]}] for place in places),
        *(["write", place, "x"] for place in places),
        reporter=reporter,
    )
    assert [state for _, state in calls(reporter)] == ["intent", "denied"] * 3 + ["denied"] * 3
    assert not (tmp_path.parent / "beside").exists()


async def test_what_rules_allow_is_allowed_once_and_never_for_good(tmp_path: Path) -> None:
    reporter = RecordingReporter()
    always = [{"optionId": "always", "name": "Always", "kind": "allow_always"}]
    call = {"kind": "read", "locations": [{"path": str(tmp_path / "a")}]}
    outcome = await run(tmp_path, ["permission", call], ["permission", call, always], reporter=reporter)
    assert outcome.value == "cancelled"
    assert [state for _, state in calls(reporter)] == ["intent", "done", "intent", "denied"]
    assert not reporter.questions


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ({"read_only": True}, {}),
        ({}, {"disallowed_tools": ("write", "edit", "bash")}),
    ],
)
async def test_an_agent_that_may_change_nothing_is_let_do_nothing_unclear(
    tmp_path: Path, kind: dict[str, Any], options: dict[str, Any]
) -> None:
    reporter = RecordingReporter(YES, YES, YES)
    outcome = await run(
        tmp_path,
        ["write", str(tmp_path / "a"), "x"],
        ["permission", {"kind": "other"}],
        ["permission", {"kind": "edit", "locations": [{"path": str(tmp_path / "a")}]}],
        reporter=reporter,
        kind=AgentType(name="Explore", description="", **kind),
        **options,
    )
    assert not reporter.questions
    assert outcome.value == "no"
    assert not (tmp_path / "a").exists()


async def test_terminals_are_not_offered(tmp_path: Path) -> None:
    assert "terminal/create is not offered" in str((await run(tmp_path, ["terminal"])).value)


@pytest.mark.contract("A03")
async def test_with_a_schema_a_bad_answer_is_sent_back_until_one_fits(tmp_path: Path) -> None:
    reporter = RecordingReporter()
    outcome = await run(
        tmp_path,
        *(["say", "three"], ["turn"], ["say", '{"n": "3"}'], ["turn"], ["say", '```json\n{"n": 3}\n```']),
        schema=SCHEMA,
        reporter=reporter,
    )
    assert (outcome.status, outcome.value, outcome.attempts) == ("ok", {"n": 3}, 3)
    told = [message["content"][0]["text"] for message in reporter.messages if message["role"] == "user"]
    assert json.dumps(SCHEMA) in told[0]
    assert "not one JSON value" in told[1]
    assert "does not fit the schema" in told[2]


@pytest.mark.contract("A03")
async def test_an_answer_that_never_fits_is_invalid_after_five(tmp_path: Path) -> None:
    outcome = await run(tmp_path, ["say", "no"], schema=SCHEMA)
    assert (outcome.status, outcome.value, outcome.attempts) == ("invalid", None, 5)


async def test_tokens_and_dollars_are_taken_as_the_agent_counts_them(tmp_path: Path) -> None:
    reporter = RecordingReporter(run_budget=Budget(tokens=100_000))
    outcome = await run(tmp_path, ["cost", 0.25, "USD"], ["say", "done"], ["usage", 100, 20, 5], reporter=reporter)
    usage = outcome.usage
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens) == (100, 20, 5)
    assert usage.cost_usd == 0.25
    assert [paid.output_tokens for paid in reporter.paid] == [20]


async def test_what_it_does_not_count_is_unknown_and_never_nothing(tmp_path: Path) -> None:
    outcome = await run(tmp_path, ["cost", 0.25, "EUR"], ["say", "x" * 400])
    assert outcome.usage.cost_usd is None
    assert outcome.usage.output_tokens == 100


async def test_a_budget_in_dollars_refuses_it_before_it_is_asked_anything(tmp_path: Path) -> None:
    reporter = RecordingReporter(run_budget=Budget(usd=5))
    outcome = await run(tmp_path, ["say", "x"], reporter=reporter)
    assert outcome.status == "failed"
    assert "--budget 2M" in (outcome.error or "")


async def test_a_limit_of_its_own_ends_it_before_it_is_asked_again(tmp_path: Path) -> None:
    outcome = await run(tmp_path, ["say", "no"], ["usage", 1, 50, 0], schema=SCHEMA, max_tokens=40)
    assert (outcome.status, outcome.attempts) == ("over_budget", 1)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (["stop", "refusal"], "its model refused"),
        (["stop", "max_tokens"], "limit of tokens"),
        (["stop", "max_turn_requests"], "limit of requests"),
        (["stop", "cancelled"], "cancelled its turn by itself"),
        (["stop", "new reason"], "'new reason'"),
        (["die", 7], "exit status 7: out of luck"),
        (["flood"], "a message of more than"),
    ],
)
async def test_any_other_end_is_a_failure_that_says_why(tmp_path: Path, step: list[Any], said: str) -> None:
    outcome = await run(tmp_path, ["say", "half"], step)
    assert outcome.status == "failed"
    assert said in (outcome.error or "")


async def test_silence_is_a_stall(tmp_path: Path) -> None:
    outcome = await run(tmp_path, ["ignore"], stall_ms=300)
    assert outcome.status == "timed_out"
    assert "nothing for 0.3 s" in (outcome.error or "")


async def test_the_limit_of_its_settings_ends_it(tmp_path: Path) -> None:
    outcome = await run(tmp_path, ["hang"], timeout_s=1)
    assert (outcome.status, outcome.error) == ("timed_out", "the agent took more than 1 s")


@pytest.mark.parametrize("last", ["hang", "ignore"])
async def test_cancelling_tells_it_and_ends_it_with_all_that_it_started_within_two_seconds(
    tmp_path: Path, last: str
) -> None:
    reporter = RecordingReporter()
    with within(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: run(tmp_path, ["child", "pids"], [last], reporter=reporter, words=("marks",)))
            assert await appears(tmp_path / "pids")
            began = time.monotonic()
            tasks.cancel_scope.cancel()
    assert time.monotonic() - began < BUSY_S
    assert (tmp_path / "cancelled").exists() == (last == "hang")
    assert not any(psutil.pid_exists(int(pid)) for pid in (tmp_path / "pids").read_text(encoding="utf-8").split())
    assert [touched.files_changed[-1] for touched in reporter.of(Touched)] == ["pids"]


async def test_cancelling_while_a_person_is_asked_ends_the_question(tmp_path: Path) -> None:
    class Asked(RecordingReporter):
        async def ask(self, question: Any) -> Answer:
            scope.cancel()
            await anyio.sleep_forever()
            raise AssertionError

    with within(10), anyio.CancelScope() as scope:
        await run(tmp_path, ["permission", {"kind": "other"}], reporter=Asked())
    assert scope.cancelled_caught


async def test_an_agent_that_is_not_logged_in_holds_the_run_and_says_how(tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailableError) as raised:
        await run(tmp_path, words=("login",))
    assert raised.value.cause == "authentication"
    assert "agents.small.environment" in str(raised.value)
    assert "Log in on the web" in str(raised.value)


async def test_a_program_that_cannot_be_used_by_any_agent_is_no_failure_of_one(tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailableError, match="does not speak version 1"):
        await run(tmp_path, words=("future",))
    backend = AcpBackend("x", AcpProgram(command=("no-such-program",)), bounds=Bounds(unconfined=True))
    with within(10), pytest.raises(BackendUnavailableError, match="there is no program 'no-such-program'"):
        await backend.run(agent_task(tmp_path), RecordingReporter())


async def test_what_it_cannot_be_told_is_left_out_with_a_line_once(tmp_path: Path) -> None:
    reporter = RecordingReporter()
    await run(tmp_path, reporter=reporter, effort="high", speed="fast")
    assert [remark.message for remark in reporter.of(Remark)] == [
        "`speed` is left out: acp:small chooses its model by itself"
    ]


async def test_where_nothing_confines_it_is_not_started_and_says_what_to_do(tmp_path: Path) -> None:
    outcome = await run(tmp_path, ["touch", "ran"], bounds=Bounds(confinement=Unconfined()))
    assert outcome.status == "failed"
    assert "--unconfined" in (outcome.error or "")
    assert not (tmp_path / "ran").exists()


async def test_confined_it_sees_and_changes_no_more_than_an_agents_commands(tmp_path: Path) -> None:
    home, root = tmp_path / "home", tmp_path / "ws"
    for folder in (home, root / "docs", root / ".git" / "hooks"):
        folder.mkdir(parents=True)
    (home / "secret").write_text("PRIVATE", encoding="utf-8")
    program = shutil.copy(AGENT, root / "agent.py")
    bounds = Bounds(home=home)
    if (await bounds.held()).is_needed:
        return
    seen = await run(root, ["see", str(home / "secret")], bounds=bounds, program=str(program))
    assert "cannot" in str(seen.value), seen
    outcome = await run(
        root,
        *(["touch", "docs/yes"], ["touch", "no"]),
        bounds=bounds,
        program=str(program),
        scope=Scope(write=("docs/**",)),
    )
    assert outcome.status == "failed"  # writing `no` ended it
    assert (root / "docs" / "yes").exists()
    assert not (root / "no").exists()
    hooked = await run(root, ["touch", ".git/hooks/pre-commit"], bounds=bounds, program=str(program))
    assert hooked.status == "failed"
    assert not (root / ".git" / "hooks" / "pre-commit").exists()


async def test_an_agent_made_with_the_protocols_own_sdk_is_understood(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one", encoding="utf-8")
    reporter = RecordingReporter()
    outcome = await run(tmp_path, program=str(AGENT.with_name("acp_sdk_agent.py")), reporter=reporter)
    assert (outcome.status, outcome.value) == ("ok", "read one, told no, wrote it"), outcome
    assert (tmp_path / "b.txt").read_text(encoding="utf-8") == "one"
    assert outcome.usage.output_tokens == 7
    assert [state for _, state in calls(reporter)] == ["done", "intent", "denied", "intent", "done"]
