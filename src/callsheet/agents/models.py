"""Names of models, read from one data file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

INHERIT = "inherit"
"""What agent types write for "the model of the one who calls"; the same as naming none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTable:
    """Aliases, the default, and how many output tokens one request asks for.

    Attributes:
        default: An alias or id.
        aliases: Lower-case short name to model id.
        request_tokens: Beginning of a model id to the `max_tokens` of one request; the longest match counts.
        cache_tokens: Beginning of a model id to the shortest prefix that its cache keeps; the longest match counts.
    """

    default: str
    aliases: dict[str, str]
    request_tokens: dict[str, int]
    cache_tokens: dict[str, int] = field(default_factory=dict)

    def resolve(self, *names: str | None) -> str:
        """The model id of the first name that is given; without one the default's."""
        name = next((name for name in names if name and name != INHERIT), self.default)
        return self.aliases.get(name.lower(), name)

    def tokens_per_request(self, model: str) -> int:
        """The output tokens that one request to `model` asks for at most."""
        return self.request_tokens[max((p for p in self.request_tokens if model.startswith(p)), key=len)]

    def cacheable_tokens(self, model: str) -> int | None:
        """The shortest prefix that the cache of `model` keeps; None where it has none that is known."""
        known = max((prefix for prefix in self.cache_tokens if model.startswith(prefix)), key=len, default=None)
        return None if known is None else self.cache_tokens[known]


@cache
def model_table() -> ModelTable:
    """The table that comes with the package."""
    data = tomllib.loads(Path(__file__).with_name("models.toml").read_text(encoding="utf-8"))
    return ModelTable(
        default=data["default"],
        aliases=data["aliases"],
        request_tokens=data["request_tokens"],
        cache_tokens=data["cache_tokens"],
    )
