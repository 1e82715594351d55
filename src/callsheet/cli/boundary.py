"""The outermost edge of the command: every error becomes words, a place and an exit status; none a traceback."""

from __future__ import annotations

import os
import tempfile
import traceback
from collections.abc import Callable

from callsheet.cli.status import FAILED, NOT_APPROVED, USAGE
from callsheet.cli.streams import say
from callsheet.errors import CallsheetError, TrustRefusedError, UsageError
from callsheet.views.safe_text import one_line, visible


def guarded(work: Callable[[], int], *, tell: Callable[[CallsheetError], None] | None = None) -> int:
    """Does the work and gives its exit status, or that of the error it ended with.

    Args:
        work: The command.
        tell: Told of an error that was shown on standard error, to give it another form too.
    """
    try:
        return work()
    except CallsheetError as fault:
        say(f"error: {visible(fault.message)}")
        status, told = status_of(fault), fault
    except Exception as fault:  # noqa: BLE001 - the last boundary: a fault of ours is said, written down, and ends here
        told = _broken(fault)
        say(f"error: {told.message}")
        status = FAILED
    if tell is not None:
        tell(told)
    return status


def status_of(fault: CallsheetError) -> int:
    """The exit status for an error of ours that ends a command."""
    match fault:
        case UsageError():
            return USAGE
        case TrustRefusedError():
            return NOT_APPROVED
        case _:
            return FAILED


def _broken(fault: Exception) -> CallsheetError:
    """A fault of ours, in words; the whole of it in a file that only its user can read."""
    words = f"{type(fault).__name__}: {one_line(str(fault), 300)}" if str(fault) else type(fault).__name__
    try:
        descriptor, path = tempfile.mkstemp(prefix="callsheet-error-", suffix=".txt")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write("".join(traceback.format_exception(fault)))
    except OSError as unwritten:
        where = f"its traceback could not be written: {unwritten.strerror}"
    else:
        where = f"its traceback is in {path}"
    return CallsheetError(f"callsheet itself broke ({words}); {where}. What agents answered before is in the record.")
