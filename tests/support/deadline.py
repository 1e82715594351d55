"""Every wait in a test stands inside a time limit."""

from __future__ import annotations

from contextlib import AbstractContextManager

import anyio

BUSY_S = 6.0
"""What may take two seconds, on a machine that is busy with much else; without its bound it takes for ever."""


def within(seconds: float = 10) -> AbstractContextManager[anyio.CancelScope]:
    """Fails the test when the block takes longer: a hang becomes a failure with a place."""
    return anyio.fail_after(seconds)
