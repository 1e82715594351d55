from __future__ import annotations

from pathlib import Path

import pytest

from callsheet.agents.claude_code.installed import is_installed
from callsheet.app.backends import BackendChoice, choose_backend
from callsheet.errors import ConfigError

START = Path("/start")
NOBODY = {"HOME": "/nonexistent"}
SOMEBODY = NOBODY | {"ANTHROPIC_API_KEY": "a-key"}


def choose(asked: str | None, environ: dict[str, str]) -> BackendChoice:
    return choose_backend(asked, environ=environ, start=START)


def test_with_a_credential_the_model_answers() -> None:
    assert choose(None, SOMEBODY) == BackendChoice(name="anthropic")


def test_without_a_credential_the_offline_agent_answers_and_the_run_says_how_to_use_a_model() -> None:
    choice = choose(None, NOBODY)

    assert choice.name == "offline"
    assert choice.note is not None and "\n" not in choice.note
    assert "no credential" in choice.note and "ANTHROPIC_API_KEY" in choice.note
    assert ("--backend claude_code" in choice.note) == is_installed()


def test_who_names_a_platform_wants_the_model_and_is_told_at_once_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environ = NOBODY | {"AWS_REGION": "eu-west-1"}
    assert choose_backend(None, service="bedrock", environ=environ, start=START) == BackendChoice(name="anthropic")
    assert choose_backend("offline", service="bedrock", environ=NOBODY, start=START).name == "offline"

    with pytest.raises(ConfigError, match=r"service bedrock: .* set AWS_REGION"):
        choose_backend("anthropic", service="bedrock", environ=NOBODY, start=START)
    monkeypatch.setattr("callsheet.agents.services.find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=r"service vertex: .* pip install 'callsheet\[vertex\]'"):
        choose_backend(None, service="vertex", environ=NOBODY | {"CLOUD_ML_REGION": "global"}, start=START)


@pytest.mark.parametrize("value", ["true", "1", "True"])
def test_without_a_credential_nothing_is_invented_under_ci(value: str) -> None:
    with pytest.raises(ConfigError, match=r"under CI .* --backend offline or --backend scripted:FILE"):
        choose(None, NOBODY | {"CI": value})


@pytest.mark.parametrize("asked", ["offline", "anthropic"])
def test_under_ci_a_backend_that_was_asked_for_is_taken(asked: str) -> None:
    assert choose(asked, NOBODY | {"CI": "true"}) == BackendChoice(name=asked)


def test_an_answers_file_is_relative_to_the_current_folder() -> None:
    assert choose("scripted:a/b.json", NOBODY).file == Path("/start/a/b.json")
    assert choose("scripted:/c:d.json", NOBODY).file == Path("/c:d.json")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("offlin", r"there is no backend 'offlin'\. Did you mean offline\?"),
        ("scripted", r"needs its answers: --backend scripted:FILE"),
        ("scripted:", r"needs its answers: --backend scripted:FILE"),
        ("anthropic:x", r"there is no backend 'anthropic:x'"),
        ("gpt", r"Known are anthropic, claude_code, offline, scripted:FILE, acp:NAME"),
    ],
)
def test_a_backend_that_does_not_exist_is_an_error_that_names_those_that_do(asked: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        choose(asked, NOBODY)
