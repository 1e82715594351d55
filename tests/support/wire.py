"""The Anthropic backend connected to a loopback Messages service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anthropic

from callsheet.agents.anthropic import AnthropicBackend
from callsheet.agents.bounding import Price
from callsheet.agents.models import ModelTable
from callsheet.agents.prompt import Background
from callsheet.agents.tools.bounds import Bounds
from callsheet.model.call import AgentTask
from callsheet.model.outcome import AgentOutcome
from callsheet.model.spending import TokenPrices
from tests.support.agents import FakeTime, RecordingReporter
from tests.support.deadline import within
from tests.support.messages_replies import Reply, in_order
from tests.support.messages_service import MessagesService, open_messages_service


@dataclass
class Wire:
    """Both ends. `time` is the backend's clock; nothing waits for real."""

    service: MessagesService
    backend: AnthropicBackend
    time: FakeTime = field(default_factory=FakeTime)

    async def stop_service(self) -> None:
        """Takes the service away; connections are refused from then on."""
        await self.service.aclose()

    async def run(self, task: AgentTask, reporter: RecordingReporter | None = None) -> AgentOutcome:
        with within():
            return await self.backend.run(task, reporter or RecordingReporter())


@asynccontextmanager
async def wired(
    *replies: Reply,
    price: Price | None = None,
    prices: Mapping[str, TokenPrices] | None = None,
    bounds: Bounds | None = None,
    background: Background | None = None,
    models: ModelTable | None = None,
) -> AsyncIterator[Wire]:
    """A backend whose requests get `replies` in order."""
    async with open_messages_service(in_order(*replies)) as service:
        time = FakeTime()

        def clients() -> Sequence[anthropic.AsyncAnthropic]:
            return [anthropic.AsyncAnthropic(base_url=service.base_url, api_key="test", max_retries=0)]

        backend = AnthropicBackend(
            clients=clients,
            price=price,
            prices=prices,
            timing=time.timing,
            bounds=bounds,
            background=background,
            models=models,
        )
        try:
            yield Wire(service, backend, time)
        finally:
            await backend.aclose()
