"""A `git` that stops in the middle of a checkpoint: a program of that name, first on the path of the command."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path

from tests.surfaces.command import Command

_PROGRAM = """\
#!/bin/sh
case " $* " in
*checkpoints*" fast-import "*)
    if read -r when 2> /dev/null < {hold}; then
        [ "$when" = before ] || {git} "$@"
        echo $$ > {held}
        exec {sleep} 86399
    fi ;;
esac
exec {git} "$@"
"""


class HeldGit:
    """What the host of a command runs as git."""

    def __init__(self, folder: Path, command: Command) -> None:
        """Puts it on the path of `command`; nothing is held yet."""
        git, sleep = shutil.which("git"), shutil.which("sleep")
        assert git is not None and sleep is not None  # what the host gives git has no path to look on
        folder.mkdir()
        self._hold, self._held = folder / "hold", folder / "held"
        program = folder / "bin" / "git"
        program.parent.mkdir()
        program.write_text(_PROGRAM.format(git=git, sleep=sleep, hold=self._hold, held=self._held), encoding="utf-8")
        program.chmod(0o755)
        command.environ["PATH"] = f"{program.parent}:{command.environ['PATH']}"

    def hold(self, when: str) -> None:
        """From now on a checkpoint stops: `before` its objects are written, or `after` that."""
        self._held.unlink(missing_ok=True)
        self._hold.write_text(f"{when}\n", encoding="ascii")

    def let_go(self) -> None:
        """From now on nothing is held; what was is over, as git is when its host is gone."""
        self._hold.unlink(missing_ok=True)
        with suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int(self._held.read_text(encoding="ascii")), signal.SIGKILL)

    def close(self) -> None:
        """As `let_go`, whatever the test came to."""
        self.let_go()

    @property
    def is_held(self) -> bool:
        """Whether a checkpoint has stopped."""
        return self._held.exists() and self._held.read_text(encoding="ascii").endswith("\n")
