"""No confinement: a supervisor, limits, and rules that others keep."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from callsheet.confinement.supervised import prepare_scratch, supervised
from callsheet.model.confinement import CommandLine, CommandProfile, ConfinedLine, ConfinementName, Coverage
from callsheet.ports import CommandConfinement

_COVERAGE = (
    Coverage(area="home", held="no", detail="rules alone: a program may read all that you may"),
    Coverage(area="hidden", held="no", detail="rules alone: a program may read the record"),
    Coverage(area="outside", held="no", detail="rules alone: a program may write wherever you may"),
    Coverage(area="protected", held="no", detail="rules alone"),
    Coverage(area="network", held="no", detail="rules alone: a program may connect to any host"),
    Coverage(area="loopback", held="no", detail="rules alone"),
    Coverage(area="hosts", held="no", detail="rules alone"),
    Coverage(area="unix_sockets", held="no", detail="rules alone: Docker, ssh-agent and the like can be reached"),
    Coverage(area="processes", held="no", detail="a program may end and read your other processes"),
    Coverage(
        area="outlive", held="watched", detail="all that a command started is ended with it, unless it fights that"
    ),
    Coverage(area="disk", held="watched", detail="file size by the kernel; processes, memory, disk are watched"),
)


class Unconfined(CommandConfinement):
    """Runs commands with limits only; what is not covered is said."""

    @property
    def name(self) -> ConfinementName:
        return "none"

    @property
    def coverage(self) -> tuple[Coverage, ...]:
        return _COVERAGE

    @asynccontextmanager
    async def open(self, line: CommandLine, profile: CommandProfile) -> AsyncIterator[ConfinedLine]:
        home, temporary = prepare_scratch(profile.scratch)
        environ = {**line.environ, "HOME": os.fspath(home), "TMPDIR": os.fspath(temporary)}
        with supervised(line, profile, argv=line.argv, environ=environ, cwd=line.cwd) as confined:
            yield confined
