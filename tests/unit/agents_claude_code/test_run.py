"""Whole runs whose agents are Claude Code's: sandbox, engine, record, worktrees and program are the real ones."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

import callsheet
from callsheet.errors import ConfigError
from tests.support.claude_code import call, claude_environ
from tests.support.deadline import within
from tests.support.messages_replies import Received, Refuse, Reply, Say, text
from tests.support.messages_service import open_messages_service

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("claude_program")]

META = "export const meta = { name: 'case', description: 'a case' }\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    work = tmp_path / "work"
    work.mkdir()
    for name, value in claude_environ(tmp_path / "home").items():
        monkeypatch.setenv(name, value)
    for name in ("XDG_CONFIG_HOME", "CLAUDE_CONFIG_DIR", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(work)
    (work / "a.txt").write_text("first\n", encoding="utf-8")
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=u", "-c", "user.email=u@u", "commit", "-qm", "one"]):
        subprocess.run(["git", *words], cwd=work, check=True)
    return work


def script(root: Path, body: str) -> str:
    (root / "case.js").write_text(META + body, encoding="utf-8")
    return "./case.js"


def asked(request: Received) -> str:
    """The first words of the task."""
    first = request.messages[0]["content"]
    return first if isinstance(first, str) else str(first[0]["text"])


def respond(request: Received) -> Reply:
    if len(request.messages) > 3:
        return Say([text(f"{asked(request)} is done")])
    if asked(request).startswith("write"):
        return Say([call("write", file_path="made.txt", content="made\n"), call("bash", command="curl http://x.test")])
    return Say([text(f"{asked(request)} is done")])


@pytest.mark.contract("A16")
async def test_a_run_works_in_a_worktree_merges_and_lists_what_was_changed_and_denied(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = "return await agent('write it', { worktree: 'w', merge: true, label: 'writer' })"
    with within(60):
        async with open_messages_service(respond) as service:
            monkeypatch.setenv("ANTHROPIC_BASE_URL", service.base_url)
            result = await callsheet.run(script(root, body), backend="claude_code")
    assert (result.status, result.result) == ("completed", "write it is done")
    (agent,) = result.agents
    assert (agent.backend, agent.files_changed) == ("claude_code", ("made.txt",))
    assert [(denial.tool, denial.agents) for denial in result.denials] == [("bash", 1)]
    assert (root / "made.txt").read_text(encoding="utf-8") == "made\n"


async def test_one_call_may_name_it_beside_another_backend(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = "return await Promise.all([agent('one'), agent('two', { backend: 'claude_code' })])"
    with within(60):
        async with open_messages_service(respond) as service:
            monkeypatch.setenv("ANTHROPIC_BASE_URL", service.base_url)
            result = await callsheet.run(script(root, body), backend="anthropic")
            agents = {request.headers["user-agent"].split("/")[0] for request in service.requests}
    assert result.result == ["one is done", "two is done"]
    assert sorted(agent.backend for agent in result.agents) == ["anthropic", "claude_code"]
    assert "claude-cli" in agents


@pytest.mark.contract("K05")
async def test_a_limit_that_is_reset_too_late_interrupts_the_run_and_delivers_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {
        "anthropic-ratelimit-unified-status": "rejected",
        "anthropic-ratelimit-unified-reset": str(int(time.time()) + 10 * 3600),
        "anthropic-ratelimit-unified-representative-claim": "five_hour",
    }
    monkeypatch.setenv("CLAUDE_CODE_OAUTH_TOKEN", "sk-ant-oat01-test")
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    body = "const [one] = await parallel([() => agent('one')]); return one === null"
    with within(60):
        async with open_messages_service(lambda _: Refuse(429, "rate_limit_error", "no", headers)) as service:
            monkeypatch.setenv("ANTHROPIC_BASE_URL", service.base_url)
            result = await callsheet.run(script(root, body), backend="claude_code")
    assert (result.status, result.result) == ("interrupted", None)
    assert result.error is not None
    assert result.error.kind == "backend"
    assert "resume" in result.error.message
    assert "5-hour limit" in result.error.message


@pytest.mark.contract("G04")
async def test_dollars_are_refused_before_the_start_where_a_plan_pays_and_counted_at_a_price_of_ones_own(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "")
    monkeypatch.setenv("CLAUDE_CODE_OAUTH_TOKEN", "sk-ant-oat01-test")
    body = "return await agent('one', { model: 'opus' })"
    with within(60):
        async with open_messages_service(respond) as service:
            monkeypatch.setenv("ANTHROPIC_BASE_URL", service.base_url)
            with pytest.raises(ConfigError, match="since a plan or a cloud pays for Claude Code here"):
                await callsheet.run(script(root, body), backend="claude_code", budget="$5")
            assert service.count == 0
            prices = {"claude-*": "1000/1000"}
            result = await callsheet.run(script(root, body), backend="claude_code", budget="$500", prices=prices)
    assert result.result == "one is done"
    assert result.usage.cost_usd == pytest.approx(0.015), "10 tokens of input and 5 of output"
