"""Whether what a recorded agent read and wrote still is as it was, or can be made so again (CONTRACT R03)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence, Sized
from typing import TypeAlias

from anyio.lowlevel import checkpoint_if_cancelled

from callsheet.model.call import Scope
from callsheet.model.dataclass import dataclass
from callsheet.model.outcome import AgentOutcome
from callsheet.model.past import PastAgent
from callsheet.permissions.globs import Globs

COMMANDS = frozenset({"bash"})
"""Tools that may read anything: an agent that used one counts as having read its whole scope."""

MarkFiles: TypeAlias = Callable[[Sequence[str]], Awaitable[Mapping[str, str]]]
"""Gives a mark for the content of files of the workspace, by path; none for those that have none."""


async def no_marks(paths: Sequence[str]) -> Mapping[str, str]:
    """The `MarkFiles` of who does not look at files."""
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class PutBack:
    """Files that are as a recorded agent had left them.

    Attributes:
        written: Those that had lost its changes, and have them again.
        whole: Those that are as the last of the recorded agents had left them, too.
    """

    written: tuple[str, ...]
    whole: frozenset[str]


Restore: TypeAlias = Callable[[PastAgent, frozenset[str]], Awaitable[PutBack | None]]
"""Sees that files are as a recorded agent had left them; None where they cannot be, and then nothing was written.

Cancelling it may come too late, and then it ends as it would have.
"""


async def cannot_restore(agent: PastAgent, paths: frozenset[str]) -> PutBack | None:
    """The `Restore` of who writes no files."""
    return None


def say_nothing(agent: PastAgent, paths: tuple[str, ...]) -> None:
    """For who is not to be told."""


_COMMAND_BACKEND = "command"
_SAID = 3


class Effects:
    """The files of the shared workspace that are other than recorded agents knew them.

    Two sorts count: those that agents changed which ran live in this resume, once their outcome was delivered; and
    those that anyone else changed since the run stopped.

    Attributes:
        restore: Puts back what a recorded agent had changed and is gone.
        tell: Told of which agent what was put back.
    """

    def __init__(self, changed_since: Iterable[str] = ()) -> None:
        self._since = frozenset(changed_since)
        self._live: frozenset[str] = frozenset()
        self.restore: Restore = cannot_restore
        self.tell: Callable[[PastAgent, tuple[str, ...]], None] = say_nothing

    def delivered(self, changed: Sequence[str]) -> None:
        """An agent that ran live has ended, and the script knows it: what it changed counts from here on."""
        self._live = self._live.union(changed)

    async def why_not(self, past: PastAgent, scope: Scope | None) -> str | None:
        """Why a recorded outcome does not hold any more; None where it does, or its changes have been put back.

        Cancelling leaves no change that is not told.

        Args:
            past: The recorded agent.
            scope: What it might read and write; part of what the call asks, and so the same now as then.
        """
        if not (self._live or self._since):
            return None
        outcome = past.outcome
        live, since = self._live, self._since
        if ran_commands(past):
            live, since = _in_scope(live, scope), _in_scope(since, scope)
            did = "it ran commands, and"
        else:
            known = {*outcome.files_read, *outcome.files_changed}
            live, since = live & known, since & known
            did = "of what it read or changed"
        if live:
            return f"{did} {_names(live)} {_was(live)} changed by agents that were asked anew"
        if since and not await self._holds_again(past, since):
            return f"{did} {_names(since)} {_was(since)} changed since the run stopped"
        return None

    async def _holds_again(self, past: PastAgent, paths: frozenset[str]) -> bool:
        done = await self.restore(past, paths)
        if done is not None:
            self._since -= done.whole
            if done.written:
                self.tell(past, done.written)
        await checkpoint_if_cancelled()  # a run that was stopped meanwhile takes no call any more
        return done is not None


def ran_commands(past: PastAgent) -> bool:
    """Whether an agent counts as having read its whole scope."""
    return past.backend == _COMMAND_BACKEND or not COMMANDS.isdisjoint(past.outcome.tools_called)


def shared_changes(outcome: AgentOutcome, *, is_apart: bool) -> tuple[str, ...]:
    """What an agent changed of the shared workspace: of one with a worktree only what was merged."""
    if is_apart and (outcome.worktree is None or not outcome.worktree.merged):
        return ()
    return outcome.files_changed


def known_files(outcome: AgentOutcome, *, is_apart: bool) -> tuple[str, ...]:
    """The files of the shared workspace that an agent read or changed: of one with a worktree what was merged."""
    if is_apart:
        return shared_changes(outcome, is_apart=True)
    return tuple(sorted({*outcome.files_read, *outcome.files_changed}))


def _in_scope(paths: frozenset[str], scope: Scope | None) -> frozenset[str]:
    """Of paths those that an agent could read."""
    if scope is None or scope.read is None:
        return paths
    globs = Globs(scope.read)
    return frozenset(path for path in paths if globs.match(path))


def _was(paths: Sized) -> str:
    return "was" if len(paths) == 1 else "were"


def _names(paths: Iterable[str]) -> str:
    names = sorted(paths)
    more = f" and {len(names) - _SAID} more" if len(names) > _SAID else ""
    return f"{', '.join(names[:_SAID])}{more}"
