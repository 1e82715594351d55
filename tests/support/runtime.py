"""Where the runs of tests have their sockets: apart, since whoever looks for runs takes away what the dead left."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path


@cache
def runtime_of(_folder: Path) -> Path:
    """The same folder for the same workspace, as long as this process lives.

    Its name is short, as the address of a socket has to be: else the socket would lie where all of this user's do.
    """
    made = Path(tempfile.mkdtemp(prefix="cs-", dir="/tmp"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made
