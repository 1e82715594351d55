"""The worktrees of a run's agents, introduced to what holds those agents (CONTRACT A07, A16)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from callsheet.app.settings import WorktreeChoices
from callsheet.errors import WorktreeError
from callsheet.model.call import AgentTask, WorkspaceRef
from callsheet.model.outcome import AgentWorktree
from callsheet.model.run import RunResult
from callsheet.ports import AgentReporter

if TYPE_CHECKING:
    from callsheet.agents.tools.bounds import Bounds
    from callsheet.workspace.trees import Trees
    from callsheet.workspace.worktree import Extras, Worktree

FOLDER = "trees"
PATCHES = "patches"
SETUP_TIMEOUT_S = 600.0
_HASTY_END_WITHIN_S = 10.0
_SAID_CHARS = 2_000


def trees_of(
    root: Path,
    *,
    state_folder: Path,
    run_id: str,
    is_copy: bool,
    environ: Mapping[str, str],
    choices: WorktreeChoices,
    bounds: Bounds,
) -> Trees:
    """What makes worktrees for a run's agents.

    Args:
        root: Where agents work that ask for none.
        state_folder: Where runs on the workspace know of each other; never seen by agents.
        run_id: Of the run.
        is_copy: `root` is a worktree of the run's own, which has the branch `callsheet/<run>`.
        environ: The host's.
        choices: What each gets besides.
        bounds: Of the run's agents.
    """
    from callsheet.workspace.trees import Trees

    return Trees(
        root,
        folder=state_folder / FOLDER,
        patches=state_folder / PATCHES,
        run_id=run_id,
        branches=f"{run_id}-" if is_copy else f"{run_id}/",  # git takes no branch beneath another
        environ=environ,
        extras=partial(_extras, choices, bounds, root),
        hold=partial(held, bounds),
        made=partial(_introduce, bounds, root),
    )


def finishing(
    trees: Trees, then: Callable[[RunResult], Awaitable[RunResult]] | None
) -> Callable[[RunResult], Awaitable[RunResult]]:
    """Closes the worktrees when the run ends, puts what became of them into its result, then does `then`."""

    async def finish(result: RunResult) -> RunResult:
        is_hasty = result.status in {"cancelled", "interrupted"}
        came = await (trees.end(within_s=_HASTY_END_WITHIN_S) if is_hasty else trees.end())
        if came:
            agents = (replace(agent, worktree=_latest(agent.worktree, came)) for agent in result.agents)
            result = replace(result, agents=tuple(agents))
        return result if then is None else await then(result)

    return finish


def _latest(said: AgentWorktree | None, came: tuple[AgentWorktree, ...]) -> AgentWorktree | None:
    if said is None or said in came:
        return said
    if said.name is None and said.branch is None:  # merged ones have no branch: nothing tells one from another
        return next((each for each in came if said.path is not None and each.path == said.path), said)
    is_same = (
        each for each in came if (each.name == said.name if said.name is not None else each.branch == said.branch)
    )
    return next(is_same, said)


@asynccontextmanager
async def held(bounds: Bounds, paths: Sequence[Path]) -> AsyncIterator[None]:
    """Keeps files from the tools of other agents, of this run and of others."""
    from callsheet.agents.tools.names import ToolFailure

    async with AsyncExitStack() as held:
        try:
            await held.enter_async_context(bounds.locks.hold_all(paths))
        except ToolFailure as failure:
            raise WorktreeError(failure.message) from None
        yield


def _introduce(bounds: Bounds, root: Path, tree: Worktree) -> None:
    """Makes the rules and the confinement fit the new place, before an agent works in it."""
    from callsheet.agents.tools.bounds import Copy

    links = tuple((root / name).resolve() for name in tree.links)
    bounds.add_copy(tree.path, Copy(of=root, visible=(tree.git_data, *links), readable=links))


def _extras(choices: WorktreeChoices, bounds: Bounds, root: Path, task: AgentTask, reporter: AgentReporter) -> Extras:
    from callsheet.workspace.worktree import Extras

    async def prepare(tree: Worktree) -> None:
        assert choices.setup is not None
        _introduce(bounds, root, tree)
        await _set_up(choices.setup, tree.path, bounds, task)

    links = choices.link or ()
    return Extras(includes=True, links=links, prepare=None if choices.setup is None else prepare)


async def _set_up(command: str, root: Path, bounds: Bounds, task: AgentTask) -> None:
    """Runs `worktree.setup`, held as an agent's command is.

    Raises:
        WorktreeError: It cannot be held, or did not end well.
    """
    from callsheet.agents.tools.gate import Passed
    from callsheet.agents.tools.inputs import BashInput
    from callsheet.agents.tools.names import ToolFailure
    from callsheet.agents.tools.shell import Shell
    from callsheet.agents.tools.watching import Changes
    from callsheet.permissions.decide import Decision
    from callsheet.permissions.rules import Effect

    held = await bounds.held()
    if held.is_needed:
        raise WorktreeError(
            f"worktree.setup ({command}) is not run: nothing holds commands here ({held.why}). Install bubblewrap, or "
            "pass --unconfined where the machine is the boundary."
        )
    there = replace(task, workspace=WorkspaceRef(root=str(root)), options=replace(task.options, scope=None))
    there = replace(there, agent_type=replace(there.agent_type, read_only=False))
    shell = Shell(bounds=bounds, task=there, root=root)
    passed = Passed(
        decision=Decision(decision=Effect.ALLOW, rule="worktree.setup", reason="", needs_confinement=True), held=held
    )
    try:
        ran = await shell.run(BashInput(command=command, timeout_ms=int(SETUP_TIMEOUT_S * 1000)), passed, Changes())
    except ToolFailure as failure:
        raise WorktreeError(f"worktree.setup ({command}): {failure.message}") from None
    finally:
        await shell.aclose()
    if ran.is_failure or not ran.detail.startswith("exit status 0,"):
        raise WorktreeError(f"worktree.setup ({command}) did not end well, {ran.detail}: {ran.output[-_SAID_CHARS:]}")
