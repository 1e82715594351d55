"""What a command line comes down to: simple commands, one after the other."""

from __future__ import annotations

from enum import Enum

from callsheet.model.dataclass import dataclass
from callsheet.permissions.shell.words import Word


class Access(Enum):
    """What a redirection does with its file."""

    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """A redirection from or to a file."""

    access: Access
    target: Word


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A variable set in front of a command, for a loop, or alone."""

    name: str
    value: Word


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A simple command: its words, what is set for it, where it reads and writes.

    Attributes:
        words: The program's name first; none where only variables are set or files opened.
        assignments: Set for this command, or for the rest of the shell where there are no words.
        redirects: Files that the shell opens for it.
        is_in_loop: It may run several times.
        is_first: It runs first, for certain, and in the shell itself.
    """

    words: tuple[Word, ...] = ()
    assignments: tuple[Assignment, ...] = ()
    redirects: tuple[Redirect, ...] = ()
    is_in_loop: bool = False
    is_first: bool = False
