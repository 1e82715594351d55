"""A run's events in a file of the user's choice, one a line, as they happen (`--log-file`)."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from anyio import CancelScope, to_thread

from callsheet.app.choices import LogAmount
from callsheet.app.restricting import lies_beneath
from callsheet.app.source import expanded
from callsheet.errors import ConfigError
from callsheet.model.events import (
    AgentControlled,
    AgentFinished,
    AgentProgress,
    AgentWaiting,
    BudgetWarning,
    Event,
    Log,
    RunFinished,
    RunStarted,
    RunStatusChanged,
)
from callsheet.model.public import event_json
from callsheet.model.run import RunSettings
from callsheet.ports import EventSink

TIMESTAMP = "{timestamp}"
_CLOSED_WITHIN_S = 10.0
_ENDED_WELL = ("ok",)


class LogFile(EventSink):
    """Takes events and writes them, from a thread of its own: nobody waits for a disk.

    Attributes:
        path: The file, all links of its folder followed.
        fault: Why not all of it could be written; None while all could.
    """

    def __init__(self, path: Path, descriptor: int, amount: LogAmount) -> None:
        self.path = path
        self.fault: str | None = None
        self._descriptor = descriptor
        self._amount = amount
        self._events: SimpleQueue[Event | None] = SimpleQueue()
        self._thread = Thread(target=self._write, name="callsheet-log", daemon=True)
        self._thread.start()

    def on_event(self, event: Event) -> None:
        if is_wanted(event, self._amount):
            self._events.put(event)

    def close(self) -> None:
        """Writes what is left, waiting at most ten seconds for the disk."""
        self._events.put(None)
        self._thread.join(_CLOSED_WITHIN_S)
        if self._thread.is_alive():
            self.fault = "the disk did not take it in time"

    def _write(self) -> None:
        try:
            while (event := self._events.get()) is not None:
                if self.fault is not None:
                    continue
                left = memoryview(
                    f"{json.dumps(event_json(event), ensure_ascii=False)}\n".encode(errors="backslashreplace")
                )
                try:
                    while left:
                        left = left[os.write(self._descriptor, left) :]
                except OSError as error:
                    self.fault = error.strerror or str(error)
        finally:
            os.close(self._descriptor)


def is_wanted(event: Event, amount: LogAmount) -> bool:
    """Whether so much of a run's events has this one."""
    body = event.body
    if amount == "verbose":
        return True
    if amount == "normal":
        return not isinstance(body, AgentProgress | AgentWaiting)
    match body:
        case AgentFinished(agent=agent):
            return agent.status not in _ENDED_WELL
        case Log(level=level):
            return level in ("warn", "error")
        case RunStarted() | RunStatusChanged() | RunFinished() | BudgetWarning() | AgentControlled():
            return True
        case _:
            return False


@asynccontextmanager
async def open_log(settings: RunSettings, *, root: Path) -> AsyncGenerator[LogFile]:
    """Opens the log file of a run, its folders made; leaving the context writes what is left.

    Args:
        settings: Of the run, which name one.
        root: The workspace, which a relative path begins in.

    Raises:
        ConfigError: The file cannot be made.
    """
    assert settings.log_file is not None
    log = await to_thread.run_sync(_opened, settings.log_file, root, settings.log_level)
    try:
        yield log
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(log.close)


def _make(folder: Path, *, is_ours: bool) -> None:
    """Makes the folder of a log; one that is new in the workspace has git ignore what lies in it.

    So the log is no change of the workspace's: not for git, for checkpoints, nor for who compares.
    """
    if folder.is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    if is_ours:
        with suppress(FileExistsError), (folder / ".gitignore").open("x", encoding="utf-8") as file:
            file.write("*\n")


def _opened(destination: str, root: Path, amount: LogAmount) -> LogFile:
    now = datetime.now(UTC)
    stamp = now.strftime("%Y-%m-%dT%H-%M-%S-") + f"{now.microsecond // 1000:03}Z"
    named = expanded(destination.replace(TIMESTAMP, stamp))
    path = Path(os.path.normpath(root / named))
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    folder, real_root = Path(os.path.realpath(path.parent)), Path(os.path.realpath(root))
    if not named.is_absolute():
        if not folder.is_relative_to(real_root):
            raise ConfigError(
                f"the log file {destination} would lie in {folder}, outside of the workspace. Give an absolute path."
            )
        relative = str(folder.relative_to(real_root) / path.name)
        if not lies_beneath(relative):
            raise ConfigError(f"the log file {destination} would lie at {relative}, which is protected. Name another.")
    try:
        _make(folder, is_ours=folder.is_relative_to(real_root))
        descriptor = os.open(folder / path.name, flags, 0o600)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise ConfigError(f"the log file {path} cannot be written: {why}. Name another: --log-file.") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ConfigError(f"the log file {path} is no regular file. Name another: --log-file.")
    return LogFile(folder / path.name, descriptor, amount)
