"""The backend: agents through Claude Code. SDK and program are looked for when they are first needed, in a thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from callsheet.agents.claude_code.installed import NAME, find_program, require_version
from callsheet.agents.models import ModelTable, model_table
from callsheet.agents.prompt import Background
from callsheet.agents.timing import Timing
from callsheet.agents.tools.bounds import Bounds
from callsheet.agents.toolset import Toolset
from callsheet.errors import BackendUnavailableError, ConfigError
from callsheet.model.call import AgentTask
from callsheet.model.outcome import AgentOutcome
from callsheet.model.spending import TokenPrices
from callsheet.ports import AgentBackend, AgentReporter

if TYPE_CHECKING:
    from callsheet.agents.bounding import Price
    from callsheet.agents.claude_code.machinery import Machinery, Patience


class ClaudeCodeBackend(AgentBackend):
    """Agents through Claude Code, paid for by whatever its login stands for: a plan, or a key.

    Its program talks to the model and has no tools of its own: agents work with ours, as those of the other backends,
    so that rules, scopes, confinement and the record are the same. Each agent has a program to itself.
    """

    def __init__(
        self,
        *,
        program: Path | None = None,
        environ: Mapping[str, str] | None = None,
        models: ModelTable | None = None,
        price: Price | None = None,
        prices: Mapping[str, TokenPrices] | None = None,
        timing: Timing | None = None,
        bounds: Bounds | None = None,
        background: Background | None = None,
        patience: Patience | None = None,
    ) -> None:
        """Makes the backend; nothing is imported, looked for or started yet.

        Args:
            program: Claude Code's program; without one the SDK's own, else the one on `PATH`.
            environ: The host's environment, of which the program gets what its login needs; this process's without one.
            models: Aliases; those of the package by default.
            price: What tokens cost where no plan pays; the price list by default.
            prices: What models cost that has been said; comes before `price`, and counts where a plan pays, too.
            timing: Clocks.
            bounds: What agents may do; without it, what they may in a workspace without settings.
            background: What they are told of project and machine; nothing without it.
            patience: How long the program may take.
        """
        self._program = program
        self._environ = os.environ if environ is None else environ
        self._models = models or model_table()
        self._price = price
        self._prices = prices or {}
        self._timing = timing or Timing()
        self._bounds = bounds or Bounds()
        self._toolset = Toolset(self._bounds)
        self._background = background or Background()
        self._patience = patience
        self._machinery: Machinery | None = None
        self._opening = anyio.Lock()

    @property
    def name(self) -> str:
        return NAME

    @property
    def takes_messages(self) -> bool:
        return True

    def default_model(self) -> str | None:
        return self._models.resolve()

    async def warm(self) -> None:
        """Imports the SDK and looks at the program, in a worker thread. The first agent does it otherwise.

        Raises:
            BackendUnavailableError: Claude Code cannot be used here; says what to do.
        """
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
                try:
                    opened = await to_thread.run_sync(self._open, abandon_on_cancel=True)
                except ConfigError as error:
                    raise BackendUnavailableError(error.message, cause="program") from error
                self._machinery = opened()
        return self._machinery

    def _open(self) -> Callable[[], Machinery]:
        workspaces = () if self._bounds.workspace is None else (self._bounds.workspace,)
        program = self._program or find_program(self._environ, outside=workspaces)
        require_version(program, self._environ)
        from callsheet.agents.claude_code.machinery import Machinery, Patience
        from callsheet.pricing.own import own_price, own_prices
        from callsheet.pricing.prices import cost_usd

        return partial(
            Machinery,
            program=program,
            environ=self._environ,
            models=self._models,
            price=own_prices(self._prices, self._price or cost_usd),
            has_own_price=lambda model: own_price(self._prices, model) is not None,
            timing=self._timing,
            bounds=self._bounds,
            background=self._background,
            patience=self._patience or Patience(),
        )
