"""Who does the work of a run, made of the classes of agents, executors and confinement.

Everything is imported where it is made: a run with the scripted backend never loads the model client.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from callsheet.app.backends import BackendChoice
from callsheet.errors import BackendUnavailableError
from callsheet.model.call import AgentType, ServiceName
from callsheet.model.confinement import CommandsHeld
from callsheet.ports import AgentBackend, Executor, Workspaces

if TYPE_CHECKING:
    from callsheet.agents.models import ModelTable
    from callsheet.agents.prompt import Background
    from callsheet.agents.tools.bounds import Bounds
    from callsheet.model.spending import TokenPrices


def load_backend(
    choice: BackendChoice,
    bounds: Bounds,
    background: Background | None = None,
    *,
    models: Mapping[str, str] | None = None,
    prices: Mapping[str, TokenPrices] | None = None,
    service: ServiceName = "anthropic",
    cache_warmup: bool = True,
    environ: Mapping[str, str] | None = None,
) -> AgentBackend:
    """The backend that was chosen, ready to work, its agents within bounds.

    Args:
        choice: Who answers.
        bounds: What agents may do.
        background: What they are told of project and machine; None where nobody is told anything.
        models: Names for models, and their ids.
        prices: What models cost, before the price list.
        service: Where models are had.
        cache_warmup: Of calls that share a prompt prefix the first goes ahead (CONTRACT K03).
        environ: The host's, for programs that talk to the model; this process's without one.

    Raises:
        ConfigError: The answers file cannot be used.
    """
    match choice.name:
        case "anthropic":
            from callsheet.agents.anthropic import AnthropicBackend

            return AnthropicBackend(
                bounds=bounds,
                background=background,
                models=_models(models or {}, service),
                prices=prices,
                warms_cache=cache_warmup,
            )
        case "claude_code":
            from callsheet.agents.claude_code import ClaudeCodeBackend

            table = _models(models or {}, _claude_service(environ))
            return ClaudeCodeBackend(environ=environ, bounds=bounds, background=background, models=table, prices=prices)
        case "offline":
            from callsheet.agents.offline import OfflineBackend

            return OfflineBackend(bounds=bounds, background=background)
        case "scripted":
            from callsheet.agents.scripted import ScriptedBackend

            assert choice.file is not None
            return ScriptedBackend.from_file(choice.file, bounds=bounds)
        case _:
            from callsheet.agents.registered import RegisteredBackend, registered_backends

            return RegisteredBackend(choice.name, registered_backends()[choice.name].load)


def _models(names: Mapping[str, str], service: ServiceName) -> ModelTable:
    from callsheet.agents.models import model_table

    table = model_table(service)
    return table.with_names(names) if names else table


def model_fault(
    name: str, *, environ: Mapping[str, str], names: Mapping[str, str], service: ServiceName = "anthropic"
) -> str | None:
    """Why a model will hardly be had: neither an alias nor the name of a Claude model; None where it may.

    A service of one's own (`ANTHROPIC_BASE_URL`) has its own names, and so have the platforms of others: ARNs of
    inference profiles, deployments. There nothing is said.
    """
    from callsheet.agents.models import INHERIT

    if service != "anthropic":
        return None
    aliases = _models(names, service).aliases
    if environ.get("ANTHROPIC_BASE_URL") or name.lower() in aliases or name == INHERIT or "claude" in name.lower():
        return None
    return f"model {name!r} is not known: it is neither an alias ({', '.join(aliases)}) nor the id of a Claude model."


def unpriced_model(
    asked: Iterable[str | None],
    *,
    names: Mapping[str, str],
    prices: Mapping[str, TokenPrices],
    service: ServiceName = "anthropic",
) -> str | None:
    """The first of some models, None for the default, whose price nobody knows; None where all have one.

    A single word that is no alias says nothing yet: the service is asked what it stands for.
    """
    from callsheet.pricing.own import own_prices
    from callsheet.pricing.prices import cost_usd

    table = _models(names, service)
    seller = table.service.prices
    price = own_prices(prices, partial(cost_usd, seller=seller) if seller else cost_usd)
    for model in map(table.resolve, asked):
        if not model.isalpha() and price(model, input_tokens=0, output_tokens=0) is None:
            return model
    return None


_USUAL, _TIMES = 10_000, 100
"""Tokens of a usual prompt, and how often a million has them."""


def prices_of(
    names: Mapping[str, str], prices: Mapping[str, TokenPrices], *, service: ServiceName = "anthropic"
) -> list[tuple[str, tuple[float, float] | None]]:
    """The models that have a short name, with the dollars for a million tokens of input and output where known.

    They are what prompts of the usual length cost: of some models longer ones cost more a token.
    """
    from callsheet.pricing.own import own_prices
    from callsheet.pricing.prices import cost_usd

    table = _models(names, service)
    seller = table.service.prices
    price = own_prices(prices, partial(cost_usd, seller=seller) if seller else cost_usd)
    found = []
    for name, model in table.aliases.items():
        fresh = price(model, input_tokens=_USUAL, output_tokens=0)
        output = price(model, input_tokens=0, output_tokens=_USUAL)
        known = None if fresh is None or output is None else (round(fresh * _TIMES, 6), round(output * _TIMES, 6))
        found.append((name, known))
    return found


def default_model(names: Mapping[str, str], *, service: ServiceName = "anthropic") -> str:
    """The alias or id of whom an agent asks where nothing names a model."""
    return _models(names, service).default


def unpriced_by_plan(
    asked: Iterable[str | None],
    *,
    names: Mapping[str, str],
    prices: Mapping[str, TokenPrices],
    environ: Mapping[str, str],
) -> str | None:
    """The first of some models that Claude Code has by a plan or a cloud, and whose price nobody has said."""
    from callsheet.agents.claude_code.environment import must_be_unpriced
    from callsheet.pricing.own import own_price

    if not must_be_unpriced(environ):
        return None
    models = map(_models(names, _claude_service(environ)).resolve, asked)
    return next((model for model in models if own_price(prices, model) is None), None)


def command_backend(choice: BackendChoice, agents: Sequence[AgentType], bounds: Bounds) -> AgentBackend | None:
    """Who runs the programs of command agents; None where there are none, or answers come from a file."""
    if choice.name == "scripted" or all(kind.command is None for kind in agents):
        return None
    from callsheet.agents.command import CommandBackend

    return CommandBackend(bounds=bounds)


def acp_backends(
    choice: BackendChoice,
    agents: Sequence[AgentType],
    bounds: Bounds,
    background: Background | None,
    *,
    environ: Mapping[str, str],
    hosts: tuple[str, ...] | None,
) -> Sequence[AgentBackend]:
    """Agents of settings that speak the Agent Client Protocol; none where answers come from a file.

    Args:
        choice: Who answers calls that name nobody.
        agents: Of settings.
        bounds: What agents may do.
        background: What they are told of project and machine.
        environ: The host's.
        hosts: What may be reached at most; None for no such limit.
    """
    said = [(kind, kind.acp) for kind in agents if kind.acp is not None]
    if not said or choice.name == "scripted":
        return ()
    from callsheet.agents.acp import AcpBackend

    return [
        AcpBackend(
            kind.name,
            program,
            bounds=bounds,
            environ=environ,
            background=background,
            hosts=hosts,
            timeout_s=kind.timeout_s,
        )
        for kind, program in said
    ]


def claude_code_beside(
    choice: BackendChoice,
    bounds: Bounds,
    background: Background | None,
    *,
    models: Mapping[str, str],
    environ: Mapping[str, str],
    prices: Mapping[str, TokenPrices] | None = None,
) -> AgentBackend | None:
    """Claude Code's agents, for calls that name them; None where it is not installed, or no model was to be asked."""
    if choice.name in ("claude_code", "offline", "scripted"):
        return None
    from callsheet.agents.claude_code import ClaudeCodeBackend
    from callsheet.agents.claude_code.installed import is_installed

    if not is_installed():
        return None
    table = _models(models, _claude_service(environ))
    return ClaudeCodeBackend(environ=environ, bounds=bounds, background=background, models=table, prices=prices)


def _claude_service(environ: Mapping[str, str] | None) -> ServiceName:
    """Where Claude Code has its models, whose ids are that service's."""
    import os

    from callsheet.agents.claude_code.environment import service_of

    return service_of(os.environ if environ is None else environ)


def backends_of(*backends: AgentBackend | None) -> Mapping[str, AgentBackend]:
    """The backends of a run by name, with those that installed packages register.

    Where answers come from a file there are no others: a rehearsal does nothing.
    """
    given = [backend for backend in backends if backend is not None]
    if given[0].name == "scripted":
        return {backend.name: backend for backend in given}
    from callsheet.agents.registered import Backends

    return Backends(given)


async def warm(backend: AgentBackend) -> None:
    """Loads the model client where the backend has one, so that the first agent need not wait for it.

    What goes wrong is not said here: the first agent meets it again, and the run says it.
    """
    if backend.name == "scripted":
        return
    from callsheet.agents.anthropic import AnthropicBackend
    from callsheet.agents.claude_code import ClaudeCodeBackend
    from callsheet.agents.offline import OfflineBackend

    if isinstance(backend, AnthropicBackend | ClaudeCodeBackend | OfflineBackend):
        with suppress(BackendUnavailableError):
            await backend.warm()


def may_write(backend: AgentBackend) -> bool:
    """Whether a backend's agents may change the workspace: all may, but those of a backend that says they do not."""
    return bool(getattr(backend, "needs_workspace", True))


async def commands_held(backend: AgentBackend, root: Path, *, unconfined: bool) -> CommandsHeld | None:
    """What holds the commands of a backend's agents: tried once a process, a few tens of milliseconds.

    None for the scripted backend, which runs no commands: there nothing is tried.
    """
    if backend.name == "scripted":
        return None
    from callsheet.confinement.probe import find_confinement

    best = (await find_confinement(outside=(root,))).best
    return CommandsHeld(name=best.name, coverage=best.coverage, unconfined=unconfined)


def executor(backends: Mapping[str, AgentBackend], *, workspaces: Workspaces | None) -> Executor:
    """Where agents work: in this process. Without `workspaces` there are no worktrees."""
    from callsheet.executors.local import LocalExecutor

    return LocalExecutor(backends, workspaces=workspaces)
