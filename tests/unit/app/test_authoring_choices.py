"""`[authoring]`: who writes scripts, and how, of flags, run config, settings and defaults."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from callsheet.app.authoring_choices import AUTHORING_DEFAULTS, AuthoringTerms, answers_of, authoring_terms
from callsheet.app.choices import AuthoringChoices, Choices
from callsheet.app.settings import Resolved, resolve_settings
from callsheet.errors import ConfigError
from callsheet.model.policy import Route
from tests.support.agents import agent_task

ALL = "[authoring]\nmodel = 'fable'\neffort = 'max'\nmax_output_tokens = '96k'\nrounds = 6\nsize = 'large'\n"


def resolved(
    folder: Path,
    *,
    workspace: str = "",
    user: str = "",
    environ: str = "",
    flags: Choices | None = None,
    is_trusted: bool = False,
) -> Resolved:
    for name, text in (("callsheet.toml", workspace), ("config.toml", user)):
        if text:
            (folder / name).write_text(text, encoding="utf-8")
    return resolve_settings(
        flags or Choices(),
        workspace=folder,
        environ={"CALLSHEET_AUTHORING": environ},
        config_dir=folder,
        trusted=is_trusted,
    )


def test_without_settings_opus_writes_with_effort_xhigh_long_replies_and_four_rounds_of_mending(tmp_path: Path) -> None:
    assert authoring_terms(resolved(tmp_path)) == AuthoringTerms(
        model="opus", effort="xhigh", max_output_tokens=64_000, rounds=4, size="medium"
    )


def test_flags_win_over_the_run_config_that_over_the_environment_and_files_part_by_part(tmp_path: Path) -> None:
    routes = Choices(
        type_models={"orchestrator": "by-config"}, mode_routing=(Route(pattern="orchestrator", effort="low"),)
    )
    user, environ = "[authoring]\nmodel = 'by-user'\nrounds = 2\nsize = 'small'\n", "rounds=3,max_output_tokens=8k"
    found = resolved(tmp_path, user=user, environ=environ)
    assert authoring_terms(found) == AuthoringTerms(
        model="by-user", effort="xhigh", max_output_tokens=8_000, rounds=3, size="small"
    )
    found = resolved(tmp_path, user=user, environ=environ, flags=routes)
    assert (authoring_terms(found).model, authoring_terms(found).effort) == ("by-config", "low")
    said = authoring_terms(found, AuthoringChoices(model="by-flag", effort="max", size="large"))
    assert (said.model, said.effort, said.size, said.rounds) == ("by-flag", "max", "large", 3)


def test_a_workspace_may_ask_for_less_and_for_more_or_a_model_only_once_it_is_trusted(tmp_path: Path) -> None:
    found = resolved(tmp_path, workspace=ALL)
    assert authoring_terms(found) == AUTHORING_DEFAULTS
    assert found.notes[:2] == (
        "callsheet.toml: authoring.model = fable is ignored: a workspace's file cannot choose it. Set it in your own "
        "config.toml.",
        "callsheet.toml: authoring.effort = max is ignored: a workspace's file can only lower the xhigh that holds "
        "without one. Set it in your own config.toml.",
    )
    assert [each.words for each in found.asked] == [
        "have scripts written by fable",
        "raise authoring.effort from xhigh to max",
        "raise authoring.max_output_tokens from 64000 to 96000",
        "raise authoring.rounds from 4 to 6",
        "raise authoring.size from medium to large",
    ]
    trusted = authoring_terms(resolved(tmp_path, is_trusted=True))
    assert trusted == AuthoringTerms(model="fable", effort="max", max_output_tokens=96_000, rounds=6, size="large")
    less = resolved(tmp_path, workspace="[authoring]\neffort = 'medium'\nrounds = 0\nmodel = 'fable'\nsize = 'small'")
    assert authoring_terms(less) == AuthoringTerms(effort="medium", rounds=0, size="small")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rounds = 11", "authoring.rounds is 11; it is between 0 and 10"),
        ("max_output_tokens = 100", "authoring.max_output_tokens is 100; it is between 4,096 and 1,000,000"),
        ("effort = 'huge'", "authoring.effort = 'huge' cannot hold"),
        ("modle = 'opus'", "unknown key modle in authoring. Did you mean model?"),
        ("max_output_tokens = '$5'", "authoring.max_output_tokens is '$5'; it is a number of tokens"),
    ],
)
def test_what_cannot_hold_is_refused_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        resolved(tmp_path, user=f"[authoring]\n{text}\n")
    assert words in refused.value.message


def test_rounds_and_length_of_replies_are_those_of_the_author_and_not_of_agents_of_nested_scripts(
    tmp_path: Path,
) -> None:
    answers = answers_of(AuthoringTerms(rounds=2, max_output_tokens=8_000).args)
    task = agent_task(tmp_path)
    own, nested = answers(task), answers(replace(task, workflow="its-script"))
    assert (own.attempts, own.reply_tokens) == (3, 8_000)
    assert (nested.attempts, nested.reply_tokens) == (5, None)
