"""Making very many objects at a stretch: a run with 20,000 waiting calls is stopped, a large library imported."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def in_bulk() -> Iterator[None]:
    """Within it the cycle collector rests: it would go through all of them again and again, and find nothing.

    For a block that awaits nothing: the collector is the whole process's.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
