"""The offline backend: the Anthropic backend with another transport, model and price."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from callsheet.agents.anthropic import AnthropicBackend
from callsheet.agents.prompt import Background
from callsheet.agents.timing import Timing
from callsheet.agents.tools.bounds import Bounds
from callsheet.answers.synthetic import label_stem
from callsheet.model.call import AgentTask
from callsheet.model.outcome import AgentOutcome
from callsheet.ports import AgentBackend, AgentReporter

if TYPE_CHECKING:
    import anthropic

NAME = "offline"


class OfflineBackend(AgentBackend):
    """Agents without a model or network: same client, tool runner, tools and permissions (DESIGN 6).

    Answers come from the workspace alone and are the same for the same workspace and task; text answers begin by
    saying that no model is behind them. Tokens are estimated, the cost is 0.
    """

    def __init__(
        self, *, timing: Timing | None = None, bounds: Bounds | None = None, background: Background | None = None
    ) -> None:
        self._answers: Counter[tuple[str, str]] = Counter()
        self._inner = AnthropicBackend(
            name=NAME,
            clients=_open_clients,
            price=_free,
            headers=self._headers,
            timing=timing,
            bounds=bounds,
            background=background,
            warms_cache=False,
        )

    @property
    def name(self) -> str:
        return NAME

    @property
    def takes_messages(self) -> bool:
        return True

    @property
    def takes_earlier(self) -> bool:
        return True

    def default_model(self) -> str | None:
        return NAME

    async def warm(self) -> None:
        """As `AnthropicBackend.warm`; needs no credential."""
        await self._inner.warm()

    async def run(self, task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        return await self._inner.run(task, reporter)

    async def aclose(self) -> None:
        await self._inner.aclose()

    def _headers(self, task: AgentTask) -> Mapping[str, str]:
        """Tells the model how often the like of this task was asked, counted as agents start."""
        from callsheet.agents.offline.transport import ASKED_HEADER

        key = (label_stem(task.label), json.dumps(task.options.schema))
        asked = self._answers[key]
        self._answers[key] += 1
        return {ASKED_HEADER: str(asked)}


def _open_clients() -> Sequence[anthropic.AsyncAnthropic]:
    import anthropic

    from callsheet.agents.offline.transport import OfflineTransport

    http_client = anthropic.DefaultAsyncHttpxClient(transport=OfflineTransport())
    # The address is never looked up: the transport answers itself.
    base_url, key = "http://offline.invalid", "offline"
    return [
        anthropic.AsyncAnthropic(
            api_key=key, base_url=base_url, max_retries=0, open_telemetry=False, http_client=http_client
        )
    ]


def _free(
    _model: str,
    *,
    input_tokens: int,
    output_tokens: int,
    cache_read_tokens: int = 0,
    cache_write_tokens: int = 0,
) -> float | None:
    return 0.0
