"""The backend: agents on the Messages API. The client is imported when it is first needed, in a thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from callsheet.agents.bounding import Price
from callsheet.agents.models import ModelTable, model_table
from callsheet.agents.prompt import Background
from callsheet.agents.timing import Timing
from callsheet.agents.tools.bounds import Bounds
from callsheet.agents.toolset import Toolset
from callsheet.bulk import in_bulk
from callsheet.groups import lone_error
from callsheet.model.call import AgentTask
from callsheet.model.outcome import AgentOutcome
from callsheet.ports import AgentBackend, AgentReporter

if TYPE_CHECKING:
    from callsheet.agents.anthropic.client import ClientFactory
    from callsheet.agents.anthropic.door import Doors
    from callsheet.agents.anthropic.machinery import Machinery
    from callsheet.model.spending import TokenPrices


def _no_headers(_task: AgentTask) -> Mapping[str, str]:
    return {}


class AnthropicBackend(AgentBackend):
    """Agents on the Messages API: Anthropic's, that of a gateway (`ANTHROPIC_BASE_URL`), or another platform's.

    Which one, the table of models says.
    """

    def __init__(
        self,
        *,
        name: str = "anthropic",
        models: ModelTable | None = None,
        clients: ClientFactory | None = None,
        price: Price | None = None,
        prices: Mapping[str, TokenPrices] | None = None,
        headers: Callable[[AgentTask], Mapping[str, str]] = _no_headers,
        timing: Timing | None = None,
        bounds: Bounds | None = None,
        background: Background | None = None,
        warms_cache: bool = True,
    ) -> None:
        """Makes the backend; nothing is imported, read or connected yet.

        Args:
            name: The name in settings, record and results.
            models: Aliases and limits; those of the package by default.
            clients: Makes the clients that agents are spread over; by default from the environment's credential.
            price: What tokens cost; the price list by default.
            prices: What models cost that has been said; comes before `price`.
            headers: Further headers for a task's requests.
            timing: Clocks and sleep. With one of its own the backend shares no circuit with others of the process.
            bounds: What agents may do; without it, what they may in a workspace without settings.
            background: What they are told of project and machine; nothing without it.
            warms_cache: Of calls that share a prompt prefix the first goes ahead (CONTRACT K03).
        """
        self._name = name
        self._models = models or model_table()
        self._clients = clients
        self._price = price
        self._prices = prices or {}
        self._headers = headers
        self._timing = timing or Timing()
        self._is_sharing = timing is None
        self._warms_cache = warms_cache
        self._bounds = bounds or Bounds()
        self._toolset = Toolset(self._bounds)
        self._background = background or Background()
        self._machinery: Machinery | None = None
        self._opening = anyio.Lock()

    @property
    def name(self) -> str:
        return self._name

    @property
    def takes_messages(self) -> bool:
        return True

    @property
    def takes_earlier(self) -> bool:
        return True

    def default_model(self) -> str | None:
        return self._models.resolve()

    async def warm(self) -> None:
        """Imports the client and opens it, in a worker thread, and reads what agents are told of the project.

        The first agent does it otherwise. Cancelling leaves the import to finish in its thread.

        Raises:
            BackendUnavailableError: There is no credential.
        """
        with lone_error():
            async with anyio.create_task_group() as group:
                group.start_soon(self._background.read)
                await self._ready()

    async def run(self, task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        machinery = await self._ready()
        return await self._toolset.run(task, reporter, machinery.run)

    async def aclose(self) -> None:
        machinery, self._machinery = self._machinery, None
        if machinery is not None:
            await machinery.aclose()

    async def _ready(self) -> Machinery:
        if self._machinery is not None:
            return self._machinery
        async with self._opening:
            if self._machinery is None:
                opened = await to_thread.run_sync(self._open, abandon_on_cancel=True)
                self._machinery = opened(self._doors())
        return self._machinery

    def _open(self) -> Callable[[Doors], Machinery]:
        with in_bulk():
            from callsheet.agents.anthropic.client import open_clients
            from callsheet.agents.anthropic.machinery import Machinery
            from callsheet.pricing.own import own_price, own_prices
            from callsheet.pricing.prices import cost_usd, search_usd

        service = self._models.service
        return partial(
            Machinery,
            clients=self._clients() if self._clients else open_clients(service.name),
            models=self._models,
            price=own_prices(
                self._prices,
                self._price or (partial(cost_usd, seller=service.prices) if service.prices else cost_usd),
            ),
            has_own_price=lambda model: own_price(self._prices, model) is not None,
            search_price=partial(search_usd, seller=service.prices or None),
            headers=self._headers,
            timing=self._timing,
            bounds=self._bounds,
            background=self._background,
            warms_cache=self._warms_cache,
        )

    def _doors(self) -> Doors:
        """Those of the process, which only the event loop's own thread can ask for."""
        from callsheet.agents.anthropic.door import Doors, shared_doors

        return shared_doors() if self._is_sharing else Doors(self._timing)
