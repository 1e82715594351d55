from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from callsheet.agents.anthropic.ledger import Prices
from callsheet.agents.claude_code import installed
from callsheet.agents.claude_code.environment import is_unpriced, must_be_unpriced, program_environment, service_of
from callsheet.agents.claude_code.faults import Failure, unavailable
from callsheet.agents.claude_code.installed import find_program, require_version
from callsheet.agents.claude_code.tally import Tally
from callsheet.app.backends import choose_backend
from callsheet.app.workers import unpriced_by_plan
from callsheet.errors import ConfigError
from callsheet.model.spending import TokenPrices
from tests.support.claude_code import fake_program

# --- what is installed


def test_a_missing_sdk_is_said_with_its_remedy_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "_SDK", "no_such_package")
    assert not installed.is_installed()
    with pytest.raises(ConfigError, match=r"pip install 'callsheet\[claude-code\]'"):
        choose_backend("claude_code", environ={}, start=Path("/"))


def without_a_bundled_program(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = folder / "sdk_without_program"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(installed, "_SDK", "sdk_without_program")


def test_without_a_bundled_program_it_is_looked_for_on_the_path_but_not_in_the_workspace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_a_bundled_program(tmp_path, monkeypatch)
    mine = tmp_path / "ws" / "node_modules"
    mine.mkdir(parents=True)
    program = fake_program(mine, "")
    environ = {"PATH": str(mine)}
    assert find_program(environ) == program
    with pytest.raises(ConfigError, match="npm install -g @anthropic-ai/claude-code"):
        find_program(environ, outside=[tmp_path / "ws"])
    with pytest.raises(ConfigError):
        choose_backend("claude_code", environ=environ, start=tmp_path, workspace=tmp_path / "ws")


@pytest.mark.parametrize(
    ("version", "said"), [("2.1.9", "2.1.9, and .* is needed. Update it: claude update"), ("none", "did not say")]
)
def test_a_program_that_is_too_old_is_refused_with_the_remedy(tmp_path: Path, version: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        require_version(fake_program(tmp_path, "", version=version), {"PATH": "/usr/bin:/bin"})


def test_a_program_that_is_new_enough_or_newer_is_taken(tmp_path: Path) -> None:
    for version in (installed.OLDEST_VERSION, (2, 2, 0), (3, 0, 0)):
        text = ".".join(map(str, version))
        assert require_version(fake_program(tmp_path, "", version=text), {}) == text
    (tmp_path / "claude.version").write_text("2.1.1 (Claude Code)", encoding="utf-8")
    with pytest.raises(ConfigError):
        require_version(tmp_path / "claude", {})


def test_choosing_and_making_the_backend_loads_no_sdk() -> None:
    code = (
        "import sys\n"
        "from callsheet.agents.claude_code import ClaudeCodeBackend\n"
        "ClaudeCodeBackend()\n"
        "print([name for name in ('claude_agent_sdk', 'mcp', 'anthropic', 'httpx2') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


# --- the environment


def environment(environ: dict[str, str], **more: Any) -> dict[str, str]:
    return program_environment(environ, temporary=Path("/t"), workspace=Path("/ws"), **more)


def test_the_program_gets_its_login_and_its_way_to_the_network_and_no_other_secret() -> None:
    given = environment(
        {
            "HOME": "/home/u",
            "PATH": "/ws/bin:/usr/bin",
            "ANTHROPIC_API_KEY": "k",
            "HTTPS_PROXY": "p",
            "GITHUB_TOKEN": "g",
            "AWS_SECRET_ACCESS_KEY": "a",
            "LD_PRELOAD": "l",
            "CLAUDECODE": "1",
            "CLAUDE_AUTO_BACKGROUND_TASKS": "1",
            "CLAUDE_CODE_SHELL_PREFIX": "x",
            "TMPDIR": "/elsewhere",
        }
    )
    assert (given["HOME"], given["ANTHROPIC_API_KEY"], given["HTTPS_PROXY"]) == ("/home/u", "k", "p")
    assert (given["PATH"], given["TMPDIR"]) == ("/usr/bin", "/t")
    assert given["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"] == "1"
    hidden = {"GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "LD_PRELOAD", "CLAUDECODE", "CLAUDE_CODE_SHELL_PREFIX"}
    assert not (hidden | {"CLAUDE_AUTO_BACKGROUND_TASKS", "CLAUDE_CODE_MAX_OUTPUT_TOKENS"}) & set(given)
    assert environment({}, output_tokens=7)["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] == "7"


def test_a_cloud_that_is_switched_on_gets_what_its_client_needs() -> None:
    given = environment({"CLAUDE_CODE_USE_BEDROCK": "1", "AWS_PROFILE": "p", "GOOGLE_CLOUD_PROJECT": "g"})
    assert given["AWS_PROFILE"] == "p"
    assert "GOOGLE_CLOUD_PROJECT" not in given
    assert [service_of({name: "1"}) for name in ("CLAUDE_CODE_USE_BEDROCK", "HOME")] == ["bedrock", "anthropic"]


def test_a_login_of_a_plan_or_a_cloud_leaves_costs_unknown() -> None:
    assert is_unpriced("none", {})
    assert not is_unpriced("ANTHROPIC_API_KEY", {})
    assert not is_unpriced("/login managed key", {})
    assert not is_unpriced("none", {"ANTHROPIC_AUTH_TOKEN": "t"})
    assert is_unpriced("ANTHROPIC_API_KEY", {"CLAUDE_CODE_USE_VERTEX": "1"})


@pytest.mark.parametrize(
    ("environ", "known"),
    [
        ({"CLAUDE_CODE_OAUTH_TOKEN": "t"}, True),
        ({"CLAUDE_CODE_OAUTH_TOKEN": "t", "ANTHROPIC_API_KEY": "k"}, False),
        ({"CLAUDE_CODE_USE_BEDROCK": "1", "ANTHROPIC_API_KEY": "k"}, True),
        ({}, False),
    ],
)
def test_that_a_plan_or_a_cloud_pays_is_told_before_the_start_where_the_environment_says_so(
    environ: dict[str, str], known: bool
) -> None:
    own = {"claude-*": TokenPrices(input=1, output=1)}
    assert must_be_unpriced(environ) == known
    assert (unpriced_by_plan([None], names={}, prices={}, environ=environ) is not None) == known
    if "CLAUDE_CODE_USE_BEDROCK" not in environ:
        assert unpriced_by_plan(["opus"], names={}, prices=own, environ=environ) is None


# --- failures


@pytest.mark.contract("K05")
@pytest.mark.parametrize(
    ("failure", "cause"),
    [
        (Failure(text="Not logged in", kind="authentication_failed", status=401), "authentication"),
        (Failure(text="no", status=403), "authentication"),
        (Failure(text="pay", kind="billing_error"), "credit"),
        (Failure(text="Your credit balance is too low", kind="invalid_request", status=400), "credit"),
        (Failure(text="no model", kind="model_not_found", status=404), "model"),
        (Failure(text="limit", kind="rate_limit", status=429), "rate_limit"),
        (Failure(text="busy", kind="server_error", status=529), "outage"),
        (Failure(text="down", status=503), "outage"),
        (Failure(text="lost", kind="unknown", is_request=True), "outage"),
        (Failure(text="bad", kind="invalid_request", status=400, is_request=True), None),
        (Failure(text="too long", kind="unknown", status=413, is_request=True), None),
        (Failure(text="broke"), None),
    ],
)
def test_failures_are_judged_by_what_the_program_says_of_them(failure: Failure, cause: str | None) -> None:
    error = unavailable(failure)
    assert (error.cause if error is not None else None) == cause


def test_a_limit_that_is_reset_says_when() -> None:
    error = unavailable(Failure(text="You've hit your limit.", kind="rate_limit", resets_at=1_795_288_944.0))
    assert error is not None
    assert error.retry_at == "2026-11-21T19:22:24.000Z"
    assert error.message == "Claude Code: You've hit your limit"


# --- usage


def price(_model: str, /, **tokens: int) -> float | None:
    return tokens["output_tokens"] * 0.5


pytestmark = pytest.mark.anyio


async def test_a_request_is_booked_once_with_the_services_last_count() -> None:
    tally = Tally(Prices(price))
    await tally.began({"model": "m", "usage": {"input_tokens": 10, "output_tokens": 1}})
    tally.came("x" * 40)
    assert tally.tokens == 10
    tally.counted({"output_tokens": 6, "input_tokens": None})
    tally.ended()
    tally.ended()
    assert (tally.total.input_tokens, tally.total.output_tokens, tally.total.cost_usd) == (10, 6, 3.0)
    tally.settle({"m": {"inputTokens": 10, "outputTokens": 6}})
    assert tally.total.output_tokens == 6


async def test_a_reply_that_broke_off_is_estimated_and_what_was_not_seen_is_booked_too() -> None:
    tally = Tally(Prices(price))
    await tally.began({"model": "m", "usage": {"input_tokens": 10, "output_tokens": 1}})
    tally.came("x" * 40)
    tally.broke()
    assert (tally.total.output_tokens, tally.total.estimated_usd) == (10, 5.0)
    tally.settle({"m": {"inputTokens": 110, "outputTokens": 10}, "haiku": {"inputTokens": 5, "outputTokens": 4}})
    assert (tally.total.input_tokens, tally.total.output_tokens) == (115, 14)


async def test_an_end_without_a_last_count_is_no_end_but_a_reply_that_broke_off() -> None:
    tally = Tally(Prices(price))
    await tally.began({"model": "m", "usage": {"input_tokens": 10, "output_tokens": 1}})
    tally.came("x" * 40)
    tally.ended()
    assert (tally.total.output_tokens, tally.total.estimated_usd) == (10, 5.0)


async def test_a_plan_has_counts_and_no_price() -> None:
    tally = Tally(Prices(price))
    tally.is_unpriced = True
    await tally.began({"model": "m", "usage": {"input_tokens": 10}})
    tally.counted({"output_tokens": 6})
    tally.ended()
    assert (tally.total.output_tokens, tally.total.cost_usd, tally.total.estimated_usd) == (6, None, 0.0)
    assert json.dumps(tally.total.output_tokens) == "6"
