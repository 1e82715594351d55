"""Checkpoints of a run's workspace, and what it takes to undo what single agents change, while the run goes on."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import anyio
from anyio import to_thread

from callsheet.app import places
from callsheet.errors import CallsheetError, CheckpointError, GitRefusedError, WorktreeError
from callsheet.model.call import AgentTask
from callsheet.model.events import CheckpointRestored, CheckpointTaken
from callsheet.model.outcome import AgentOutcome
from callsheet.model.reports import ToolCalled
from callsheet.model.run import ChangedFile
from callsheet.ports import CheckpointTaker

if TYPE_CHECKING:
    from callsheet.workspace.checkpoints import Checkpoints
    from callsheet.workspace.git import GitPlace
    from callsheet.workspace.survey import Limits
    from callsheet.workspace.undoing import Undoing

FOLDER = "checkpoints"

Hold: TypeAlias = Callable[[Sequence[Path]], AbstractAsyncContextManager[object]]
"""Keeps files from the tools of agents while the context lasts; raises WorktreeError where one is not let go of."""

_FILE_TOOLS = frozenset({"edit", "write"})
_PLAIN_FILES, _PLAIN_BYTES = 10_000, 200 * 1024 * 1024
_GIT_FILES, _GIT_BYTES = 100_000, 1024 * 1024 * 1024
_REMEDY = "Have git ignore what need not be kept, or pass --checkpoint-interval N, with which all of it is."
_PLAIN_REMEDY = "Make it a git repository (git init), or pass --checkpoint-interval N, with which all of it is kept."


@asynccontextmanager
async def open_taker(
    root: Path,
    *,
    state_folder: Path,
    run_id: str,
    environ: Mapping[str, str],
    interval: int,
    on_failure: bool,
    hold: Hold,
) -> AsyncGenerator[CheckpointTaker]:
    """Who takes the checkpoints of a run whose agents may change the workspace. Nothing is looked at before the first.

    Args:
        root: Where agents work.
        state_folder: Never seen by agents.
        run_id: Of the run.
        environ: The host's.
        interval: Agents between two; 0 where nobody asked for checkpoints, so that they are bounded in size.
        on_failure: What failed agents changed is to be taken back.
        hold: Keeps files from agents while they are brought back.
    """
    async with AsyncExitStack() as stack:
        folder = state_folder / FOLDER / run_id
        yield _Taker(root, folder, stack, environ, is_bounded=not interval, is_careful=on_failure, hold=hold)


class _Taker(CheckpointTaker):
    def __init__(
        self,
        root: Path,
        folder: Path,
        stack: AsyncExitStack,
        environ: Mapping[str, str],
        *,
        is_bounded: bool,
        is_careful: bool,
        hold: Hold,
    ) -> None:
        self._root = root
        self._folder = folder
        self._stack = stack
        self._environ = environ
        self._is_bounded = is_bounded
        self._is_careful = is_careful
        self._hold = hold
        self._opening = anyio.Lock()
        self._opened: tuple[Checkpoints, Undoing] | None = None

    async def take(self) -> CheckpointTaken:
        try:
            checkpoints, undoing = await self._open()
            taken = await undoing.take()
            left_out = await checkpoints.left_out(taken.number)
        except (GitRefusedError, OSError) as error:
            raise CheckpointError(said(error)) from None
        return CheckpointTaken(n=taken.number, commit_id=taken.commit, left_out=tuple(sorted(left_out.items())))

    async def changed(self) -> Sequence[ChangedFile]:
        if self._opened is None:
            raise CheckpointError("there is no checkpoint")
        checkpoints, _ = self._opened
        try:
            lines = await checkpoints.lines(0, checkpoints.taken[-1].number)
        except (GitRefusedError, OSError) as error:
            raise CheckpointError(said(error)) from None
        paths = sorted(lines)
        return [
            ChangedFile(path=path, added=lines[raw][0], removed=lines[raw][1])
            for path, raw in zip(texts(paths), paths, strict=True)
        ]

    async def _open(self) -> tuple[Checkpoints, Undoing]:
        """Opens them with the first that is taken: agents change nothing before."""
        async with self._opening:
            if self._opened is None:
                await to_thread.run_sync(import_module, "callsheet.workspace.undoing")  # what it needs takes a moment
                from callsheet.workspace.checkpoints import open_checkpoints
                from callsheet.workspace.footprints import Diary
                from callsheet.workspace.undoing import Undoing

                user = await place_of(self._root, self._environ)
                limits = self._limits(is_git=user is not None)
                opened = open_checkpoints(
                    self._root, folder=self._folder, environ=self._environ, user=user, limits=limits
                )
                checkpoints = await self._stack.enter_async_context(opened)
                diary = Diary.open(self._folder)
                self._stack.callback(diary.close)
                self._opened = checkpoints, Undoing(checkpoints, diary, is_careful=self._is_careful)
            return self._opened

    def _limits(self, *, is_git: bool) -> Limits | None:
        if not self._is_bounded:
            return None
        from callsheet.workspace.survey import Limits

        if is_git:
            return Limits(files=_GIT_FILES, size_bytes=_GIT_BYTES, remedy=_REMEDY)
        return Limits(files=_PLAIN_FILES, size_bytes=_PLAIN_BYTES, remedy=_PLAIN_REMEDY)

    async def before_change(self, task: AgentTask, call: ToolCalled) -> None:
        if self._opened is None or task.options.is_apart:
            return
        _, undoing = self._opened
        try:
            if call.tool not in _FILE_TOOLS:
                await undoing.about_to_run(task.agent_id)
            elif (path := await to_thread.run_sync(self._path, task, call)) is not None:
                await undoing.about_to_change(task.agent_id, path)
        except (GitRefusedError, OSError) as error:
            raise CheckpointError(said(error)) from None

    async def after_change(self, task: AgentTask, call: ToolCalled) -> None:
        if self._opened is None or task.options.is_apart:
            return
        _, undoing = self._opened
        try:
            if call.tool not in _FILE_TOOLS:
                await undoing.has_run(task.agent_id)
            elif call.state == "done" and (path := await to_thread.run_sync(self._path, task, call)) is not None:
                await undoing.has_changed(task.agent_id, path)
        except (GitRefusedError, OSError) as error:
            raise CheckpointError(said(error)) from None

    async def ended(self, task: AgentTask, outcome: AgentOutcome) -> None:
        if self._opened is None:
            return
        _, undoing = self._opened
        try:
            await undoing.ended(task.agent_id, outcome.files_changed)
        except (GitRefusedError, OSError) as error:
            raise CheckpointError(said(error)) from None

    async def take_back(self, task: AgentTask, paths: Sequence[str]) -> CheckpointRestored:
        if self._opened is None:
            raise CheckpointError("there is no checkpoint")
        checkpoints, undoing = self._opened
        try:
            async with self._hold([self._root / path for path in paths]):
                restored = await undoing.take_back(task.agent_id, paths)
        except (GitRefusedError, WorktreeError, OSError) as error:
            raise CheckpointError(said(error)) from None
        return CheckpointRestored(
            n=checkpoints.taken[-1].number,
            written=texts(restored.written),
            removed=texts(restored.removed),
            left=tuple(zip(texts([path for path, _ in restored.left]), (why for _, why in restored.left), strict=True)),
            agent_id=task.agent_id,
        )

    def _path(self, task: AgentTask, call: ToolCalled) -> str | None:
        """The file that a file tool is about, relative to the workspace; None for one elsewhere."""
        given = call.input.get("file_path") if isinstance(call.input, dict) else None
        if not isinstance(given, str) or "\0" in given:
            return None
        root = os.path.realpath(self._root)
        whole = os.path.realpath(os.path.join(root, task.workspace.cwd, given))  # noqa: PTH118 - links are followed
        return os.path.relpath(whole, root) if whole.startswith(f"{root.rstrip(os.sep)}{os.sep}") else None


def texts(paths: Sequence[str]) -> tuple[str, ...]:
    """Paths as text, what is none in them escaped."""
    return tuple(path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") for path in paths)


async def place_of(root: Path, environ: Mapping[str, str]) -> GitPlace | None:
    """The workspace's repository; None where it has none. Raises GitRefusedError."""
    from callsheet.workspace.git import git_place

    return await git_place(root, environ) if places.workspace(root, root).git else None


def said(error: CallsheetError | OSError) -> str:
    """What went wrong, for people."""
    return str(error) if isinstance(error, OSError) else error.message
