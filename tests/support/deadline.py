"""Every wait in a test stands inside a time limit."""

from __future__ import annotations

from contextlib import AbstractContextManager

import anyio

PATIENCE = 4
"""How many times as long a machine may take that is busy with much else: what hangs takes for ever all the same."""
BUSY_S = 20.0
"""What may take two seconds, on a machine that is busy with much else; without its bound it takes for ever."""


def within(seconds: float = 10) -> AbstractContextManager[anyio.CancelScope]:
    """Fails the test when the block hangs: a hang becomes a failure with a place.

    Args:
        seconds: What it takes at most on a machine with little else to do.
    """
    return anyio.fail_after(seconds * PATIENCE)
