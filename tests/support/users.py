"""Acting as somebody who is not root: root passes every permission bit, and tests must show what others meet."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_NOBODY = 65534


@contextmanager
def unprivileged() -> Iterator[None]:
    """Within it the whole process has no more rights than an ordinary user. Changes nothing for one who is."""
    if os.geteuid() != 0:
        yield
        return
    group = os.getegid()
    os.setegid(_NOBODY)
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
