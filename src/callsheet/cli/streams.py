"""Standard output and error as this command uses them: never a traceback for a reader that went away."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping
from typing import TextIO

from callsheet.views.safe_text import defused, under_github


def prepare_streams() -> None:
    """Sees that both streams are there, and that they show what their encoding lacks as an escape rather than fail.

    A descriptor that was closed (`>&-`) leads nowhere then; else the next file that is opened would take its number,
    and be written to in its place.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def has_person(environ: Mapping[str, str]) -> bool:
    """Whether somebody can be asked: standard input and error are a terminal, and this is no CI job."""
    if under_github(environ) or environ.get("CI", "") not in {"", "0", "false"}:
        return False
    return sys.stdin.isatty() and sys.stderr.isatty()


def say(*lines: str) -> None:
    """Prints lines for people on standard error, already made safe; GitHub's commands in them are broken."""
    quietly(sys.stderr, [defused(line) for line in lines] if under_github() else list(lines))


def quietly(stream: TextIO, lines: list[str]) -> OSError | None:
    """Writes lines. Where the stream's reader is gone, says nothing, then and at exit; other faults are returned."""
    try:
        write_lines(stream, lines)
    except BrokenPipeError:
        silence(stream)
    except OSError as fault:
        silence(stream)
        return fault
    return None


def write_lines(stream: TextIO, lines: list[str]) -> None:
    """Writes lines and flushes.

    Raises:
        OSError: The reader is gone, or there is no room.
    """
    if lines:
        stream.write("\n".join(lines) + "\n")
        stream.flush()


def silence(stream: TextIO) -> None:
    """Lets all that is still written to a stream go nowhere, so that its last flush cannot fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, stream.fileno())
    finally:
        os.close(nowhere)
