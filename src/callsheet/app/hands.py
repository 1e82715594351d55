"""The hands of a run: who works, on what ground, held by what bounds."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from callsheet.app import compose, places, workers
from callsheet.app.bounding import bounds_of
from callsheet.app.ground import Ground
from callsheet.app.plan import Plan
from callsheet.app.servers import open_servers
from callsheet.app.trees import trees_of
from callsheet.groups import meanwhile
from callsheet.model.dataclass import dataclass
from callsheet.ports import AgentBackend, Executor
from callsheet.shell.environment import inside_run

if TYPE_CHECKING:
    from callsheet.agents.prompt import Background
    from callsheet.agents.tools.bounds import Bounds
    from callsheet.library.memory import Memory
    from callsheet.workspace.trees import Trees


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """Who works in a run, and what they work with.

    Attributes:
        backend: Who answers calls that name nobody else.
        backends: All that calls may name.
        memory: What agents are told of the project; None where nobody is told anything.
        trees: Makes worktrees; None where all answers come from a file and write none.
        servers_note: A line on the MCP servers; None where there is nothing to say.
    """

    ground: Ground
    bounds: Bounds
    memory: Memory | None
    backend: AgentBackend
    backends: Mapping[str, AgentBackend]
    trees: Trees | None
    executor: Executor
    servers_note: str | None


@asynccontextmanager
async def open_hands(
    plan: Plan,
    ground: Ground | None,
    *,
    run_id: str,
    log: Path | None,
    find_ground: Callable[[bool], AbstractAsyncContextManager[Ground]],
) -> AsyncGenerator[Hands]:
    """Makes the agents of a run ready to work. Leaving the context ends what is theirs: programs, servers, worktrees.

    The model client is loaded while the block goes on.

    Args:
        plan: Of the run.
        ground: Where they work; None where that waits for whether they may write.
        run_id: Of the run.
        log: The file that its events go to; None for none.
        find_ground: Makes sure of the ground, told whether agents may write.

    Raises:
        ConfigError: The answers file cannot be used.
        LeaseHeldError: Others work in the workspace.
    """
    state = places.state_folder(plan.workspace.root, plan.around.environ)
    marked = inside_run(plan.around.environ, run_id)
    site = replace(plan.site, environ=marked)
    async with AsyncExitStack() as stack:
        bounds = bounds_of(
            site,
            plan.settled.permissions,
            ground=ground,
            state_folder=state,
            run_id=run_id,
            unconfined=plan.unconfined,
            opens_network=plan.settled.opens_network,
            log=log,
        )
        stack.push_async_callback(bounds.aclose)
        memory, background = _told(plan, ground)
        acp = workers.acp_backends(
            plan.backend,
            plan.resolved.agents,
            bounds,
            background,
            environ=marked,
            hosts=plan.settled.hosts,
        )
        chosen = next((each for each in acp if each.name == plan.backend.name), None)
        backend = chosen or workers.load_backend(
            plan.backend,
            bounds,
            background,
            models=plan.resolved.models,
            prices=plan.settings.prices,
            service=plan.settings.service,
            cache_warmup=plan.settings.cache_warmup,
            environ=marked,
        )
        beside = workers.claude_code_beside(
            plan.backend,
            bounds,
            background,
            models=plan.resolved.models,
            prices=plan.settings.prices,
            environ=marked,
        )
        if ground is None:
            ground = await stack.enter_async_context(find_ground(workers.may_write(backend)))
        commands_by = workers.command_backend(plan.backend, plan.resolved.agents, bounds)
        backends = workers.backends_of(backend, commands_by, beside, *acp)
        trees = None
        if backend.name != "scripted" or workers.may_write(backend):
            trees = trees_of(
                ground.root,
                state_folder=state,
                run_id=run_id,
                is_copy=ground.root != plan.workspace.root,
                environ=plan.around.environ,
                choices=plan.resolved.worktree,
                bounds=bounds,
            )
            stack.push_async_callback(trees.end)
        # Around the executor: servers end when no agent is left that could call them.
        servers_note = await stack.enter_async_context(open_servers(plan.servers, bounds, site, root=ground.root))
        executor = workers.executor(backends, workspaces=trees)
        stack.push_async_callback(executor.aclose)
        if plan.order.resume is None:  # a run that goes on may need nobody
            await stack.enter_async_context(meanwhile(partial(workers.warm, backend)))
        yield Hands(
            ground=ground,
            bounds=bounds,
            memory=memory,
            backend=backend,
            backends=backends,
            trees=trees,
            executor=executor,
            servers_note=servers_note,
        )


def _told(plan: Plan, ground: Ground | None) -> tuple[Memory | None, Background | None]:
    """What agents are told of project and machine."""
    if ground is None or plan.backend.name == "scripted":
        return None, None
    site = plan.site
    memory = compose.memory(site.project, root=ground.root, user_dir=site.user_dir, home=site.home)
    return memory, compose.background(memory, root=ground.root, environ=plan.around.environ)
