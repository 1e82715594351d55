from __future__ import annotations

import pytest

from callsheet.agents.models import model_table


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
