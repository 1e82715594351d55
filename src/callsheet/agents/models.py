"""Names of models and what each takes, read from one data file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import field, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from callsheet.model.call import Effort, ServiceName
from callsheet.model.dataclass import dataclass

INHERIT = "inherit"
"""What agent types write for "the model of the one who calls"; the same as naming none."""

DEFAULT = "default"
"""In the user's table of names: what is used where nobody names a model."""

COMPACT_AT_SHARE = 0.8
"""Of a model's window: beyond it a conversation is compacted before it goes on."""

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A place where models are had.

    Attributes:
        name: As in settings.
        prices: The seller in the price list; empty for Anthropic itself.
        prefix: Stands before ids there.
        ids: Ids there that are no others with the prefix.
        fast: It has a fast mode.
        lists: It can be asked for its models.
        search: Its own tool that searches the web; empty where it has none.
        notices: It takes system messages within a conversation.
    """

    name: ServiceName = "anthropic"
    prices: str = ""
    prefix: str = ""
    ids: Mapping[str, str] = field(default_factory=dict)
    fast: bool = True
    lists: bool = True
    search: str = ""
    notices: bool = True

    def id_of(self, model: str) -> str:
        """A model's id there; what is no id of Anthropic's passes unchanged."""
        known = self.ids.get(model)
        if known is not None or not model.startswith("claude-"):
            return known or model
        return f"{self.prefix}{model}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTable:
    """Aliases, the default, and what requests to each model may ask for.

    All tables but `aliases` go from the beginning of a model id to a value; the longest match counts.

    Attributes:
        default: An alias or id.
        aliases: Lower-case short name to model id.
        request_tokens: The `max_tokens` of one request.
        most_tokens: The most that it can be, where more is asked for.
        windows: Tokens that a conversation may have, the reply included.
        adaptive: Whether adaptive thinking must be asked for; the others think, or do not, by themselves.
        efforts: Whether it takes an effort.
        fast: The beta that fast mode needs, empty for none; models that are not listed have no fast mode.
        fast_prices: What fast mode costs, as a multiple of the standard price; 0 where that is not known.
        compacts: Whether the service compacts its conversations.
        cache_tokens: The shortest prefix that its cache keeps.
        system_messages: Whether it takes system messages within a conversation.
        service: Where the models are had.
    """

    default: str
    aliases: Mapping[str, str]
    request_tokens: Mapping[str, int]
    most_tokens: Mapping[str, int]
    windows: Mapping[str, int]
    adaptive: Mapping[str, bool]
    efforts: Mapping[str, bool]
    fast: Mapping[str, str]
    fast_prices: Mapping[str, float]
    compacts: Mapping[str, bool]
    cache_tokens: Mapping[str, int]
    system_messages: Mapping[str, bool]
    service: Service = Service()

    def resolve(self, *names: str | None) -> str:
        """The model id, as the service has it, of the first name that is given; without one the default's."""
        name = next((name for name in names if name and name != INHERIT), self.default)
        return self.service.id_of(self.aliases.get(name.lower(), name))

    def tokens_per_request(self, model: str, asked: int | None = None) -> int:
        """The output tokens that one request to `model` asks for at most: what is asked, as far as the model goes."""
        usual = _of(self.request_tokens, model, 0)
        return usual if asked is None else min(asked, max(usual, _of(self.most_tokens, model, 0)))

    def window(self, model: str) -> int:
        """The tokens that a conversation with `model` may have."""
        return _of(self.windows, model, 0)

    def thinks_when_asked(self, model: str) -> bool:
        """Whether adaptive thinking has to be asked for."""
        return _of(self.adaptive, model, False)

    def takes_effort(self, model: str, effort: Effort | None) -> bool:
        """Whether an effort may be sent; without one there is nothing to send."""
        return effort is not None and _of(self.efforts, model, True)

    def fast_beta(self, model: str) -> str | None:
        """The beta that fast mode needs, empty for none; None where the model has no fast mode."""
        return _of(self.fast, model, None) if self.service.fast else None

    def fast_price(self, model: str) -> float | None:
        """How much more fast mode costs; None where that is not known."""
        return _of(self.fast_prices, model, None) or None

    def compact_at(self, model: str) -> int | None:
        """How many tokens a conversation may have before it is compacted; None where the service does not do that.

        What is left of the window then takes one more reply and the results of its tools.
        """
        return int(self.window(model) * COMPACT_AT_SHARE) if _of(self.compacts, model, False) else None

    def takes_notices(self, model: str) -> bool:
        """Whether it takes system messages within a conversation."""
        return self.service.notices and _of(self.system_messages, model, False)

    def cacheable_tokens(self, model: str) -> int | None:
        """The shortest prefix that the cache of `model` keeps; None where it has none that is known."""
        return _of(self.cache_tokens, model, None)

    def with_names(self, names: Mapping[str, str]) -> ModelTable:
        """The same with further aliases, which win; `default` among them says what is used where none is named."""
        own = {name.lower(): model for name, model in names.items() if name.lower() != DEFAULT}
        default = next((model for name, model in names.items() if name.lower() == DEFAULT), self.default)
        return replace(self, aliases={**self.aliases, **own}, default=default)


def _of(table: Mapping[str, Any], model: str, otherwise: Value) -> Any | Value:
    """The value of the longest beginning of the id that the table has."""
    model = plain_id(model)
    found = max((each for each in table if model.startswith(each)), key=len, default=None)
    return otherwise if found is None else table[found]


def plain_id(model: str) -> str:
    """An id as Anthropic has it, of one with what services put around it; as it is where that is not to be seen.

    `us.anthropic.claude-opus-4-6-v1`, `claude-sonnet-4-5@20250929`, the ARN of an inference profile.
    """
    return model[max(0, model.find("claude-")) :].replace("@", "-")


@cache
def model_table(service: ServiceName = "anthropic") -> ModelTable:
    """The table that comes with the package, for one service."""
    data = tomllib.loads(Path(__file__).with_name("models.toml").read_text(encoding="utf-8"))
    services = data.pop("services")
    return ModelTable(**data, service=Service(name=service, **services[service]))
