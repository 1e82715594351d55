"""A command on a pseudo-terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading

from tests.surfaces.command import LIMIT_S, Command
from tests.surfaces.forking import Child, can_fork, fork

COLOUR = re.compile("\x1b\\[[0-9;]*m")
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


class Terminal:
    """A terminal of 24 rows and 100 columns with a command on it.

    Attributes:
        is_as_before: Whether at the end the terminal's modes were those that the command had found.
    """

    def __init__(self, command: Command, *words: str, term: str = "xterm-256color") -> None:
        self._main, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        self.process = _started(command, words, side=side, term=term)
        os.close(side)
        self.is_as_before = False
        self._modes = termios.tcgetattr(self._main)
        self.shown = ""
        self._seen = 0
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # the terminal's last user is gone
            while data := os.read(self._main, 65_536):
                with self._changed:
                    self.shown += data.decode(errors="replace")
                    self._changed.notify_all()

    def wait_for(self, *words: str) -> None:
        """Waits until the terminal has shown all these words."""

        def is_there() -> bool:
            text = COLOUR.sub("", self.shown)
            return all(word in text for word in words)

        with self._changed:
            assert self._changed.wait_for(is_there, LIMIT_S), self.shown[-2_000:]

    def next(self, *words: str) -> str:
        """Waits until all these words were shown since the last call; gives what was shown since then."""

        def is_there() -> bool:
            text = COLOUR.sub("", self.shown)[self._seen :]
            return all(word in text for word in words)

        with self._changed:
            assert self._changed.wait_for(is_there, LIMIT_S), self.shown[-2_000:]
            text = COLOUR.sub("", self.shown)
            new, self._seen = text[self._seen :], len(text)
        return new

    def type(self, text: str) -> None:
        """Types, as a person does."""
        os.write(self._main, text.encode())

    def end(self) -> str:
        """Waits for the command's end, and gives all that was shown, without colours."""
        self.process.wait(LIMIT_S)
        self._reader.join(LIMIT_S)
        self.is_as_before = termios.tcgetattr(self._main) == self._modes
        return COLOUR.sub("", self.shown.replace("\r\n", "\n"))

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.process.kill()
        self.process.wait(LIMIT_S)
        if isinstance(self.process, Child):
            self.process.close()
        self._reader.join(LIMIT_S)
        os.close(self._main)


def _started(command: Command, words: tuple[str, ...], *, side: int, term: str) -> subprocess.Popen[bytes] | Child:
    """The command, with this side of the terminal as its streams, in a session of its own."""
    line, environ = command.line(*words), command.environ | {"TERM": term}
    if can_fork(line, environ, b""):
        return fork(line, folder=command.folder, environ=environ, streams=(side, side, side), is_leader=True)
    return subprocess.Popen(
        line,
        cwd=command.folder,
        env=environ,
        stdin=side,
        stdout=side,
        stderr=side,
        start_new_session=True,
        preexec_fn=_take_terminal,
    )


def _take_terminal() -> None:
    """Makes standard input the terminal of the new session, so that its Ctrl-C is a signal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
