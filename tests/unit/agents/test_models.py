from __future__ import annotations

import pytest

from callsheet.agents.models import model_table
from callsheet.agents.services import SERVICES
from callsheet.model.call import ServiceName


@pytest.mark.parametrize(
    ("names", "model"),
    [
        (("opus",), "claude-opus-5-5"),
        (("Haiku",), "claude-haiku-5-5"),
        (("claude-opus-4-8",), "claude-opus-4-8"),
        (("my-gateway/llama",), "my-gateway/llama"),
        ((None, "fable"), "claude-fable-5-2"),
        (("inherit", "haiku"), "claude-haiku-5-5"),
        ((None, None), "claude-sonnet-5-5"),
        (("", "inherit"), "claude-sonnet-5-5"),
    ],
)
def test_the_first_name_given_is_resolved_and_full_ids_pass_unchanged(
    names: tuple[str | None, ...], model: str
) -> None:
    assert model_table().resolve(*names) == model


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("claude-opus-5-5", 32_000),
        ("something/else", 32_000),
        ("claude-3-haiku-20240307", 4_096),
        ("claude-3-5-x", 8_192),
    ],
)
def test_the_longest_matching_entry_says_how_many_tokens_a_request_asks_for(model: str, tokens: int) -> None:
    assert model_table().tokens_per_request(model) == tokens


@pytest.mark.contract("A07", "A14")
@pytest.mark.parametrize(
    ("model", "window", "asks_to_think", "takes_effort", "beta"),
    [
        ("claude-opus-5-5", 1_000_000, False, True, ""),
        ("claude-opus-5", 1_000_000, False, True, "fast-mode-2026-02-01"),
        ("claude-opus-4-8", 200_000, True, True, "fast-mode-2026-02-01"),
        ("claude-sonnet-5-5", 1_000_000, False, True, None),
        ("claude-haiku-4-5-20251001", 200_000, False, False, None),
        ("my-gateway/llama", 200_000, False, True, None),
    ],
)
def test_what_a_model_takes_is_said_by_the_longest_matching_entry(
    model: str, window: int, asks_to_think: bool, takes_effort: bool, beta: str | None
) -> None:
    table = model_table()
    assert table.window(model) == window
    assert table.thinks_when_asked(model) == asks_to_think
    assert table.takes_effort(model, "high") == takes_effort
    assert table.takes_effort(model, None) is False
    assert table.fast_beta(model) == beta


def test_names_of_ones_own_win_and_may_say_the_default() -> None:
    own = model_table().with_names({"Opus": "claude-opus-6", "mine": "gateway/x", "default": "mine"})
    assert own.resolve("opus") == "claude-opus-6"
    assert own.resolve(None) == "gateway/x"
    assert own.resolve("haiku") == "claude-haiku-5-5"


@pytest.mark.contract("K03")
@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("claude-opus-5-5", 4096),
        ("claude-sonnet-5-5", 2048),
        ("claude-sonnet-4-5-20250929", 1024),
        ("claude-3-5-haiku-20241022", 2048),
        ("my-gateway/llama", None),
    ],
)
def test_the_longest_matching_entry_says_from_what_length_on_a_prefix_is_cached(model: str, tokens: int | None) -> None:
    assert model_table().cacheable_tokens(model) == tokens


@pytest.mark.parametrize(
    ("service", "name", "model"),
    [
        ("bedrock", "opus", "global.anthropic.claude-opus-5-5"),
        ("bedrock", "claude-haiku-4-5", "global.anthropic.claude-haiku-4-5-20251001-v1:0"),
        ("bedrock", "us.anthropic.claude-opus-5-5", "us.anthropic.claude-opus-5-5"),
        ("bedrock-mantle", "sonnet", "anthropic.claude-sonnet-5-5"),
        ("vertex", "haiku", "claude-haiku-5-5"),
        ("vertex", "claude-sonnet-4-5-20250929", "claude-sonnet-4-5@20250929"),
        ("foundry", "opus", "claude-opus-5-5"),
        ("foundry", "my-deployment", "my-deployment"),
    ],
)
def test_ids_are_those_of_the_place_where_models_are_had(service: ServiceName, name: str, model: str) -> None:
    assert model_table(service).resolve(name) == model


def test_names_of_ones_own_win_at_other_places_too() -> None:
    profile = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abc"
    assert model_table("bedrock").with_names({"opus": profile}).resolve("opus") == profile


@pytest.mark.parametrize(
    "model",
    [
        "us.anthropic.claude-opus-4-8-v1:0",
        "claude-opus-4-8@20260401",
        "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.anthropic.claude-opus-4-8-v1:0",
    ],
)
def test_what_a_model_takes_is_known_by_the_ids_of_other_places(model: str) -> None:
    table = model_table("bedrock")
    assert table.thinks_when_asked(model)
    assert table.cacheable_tokens(model) == 4096
    assert table.fast_beta(model) is None, "fast mode is Anthropic's own"


def test_each_place_has_a_table_and_a_seller_of_its_own() -> None:
    assert {name: model_table(name).service.prices for name in SERVICES} == {
        "anthropic": "",
        "bedrock": "aws",
        "bedrock-mantle": "aws",
        "vertex": "google",
        "foundry": "azure",
    }
