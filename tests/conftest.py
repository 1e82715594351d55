"""What every test shares: the event loop that the package runs on, and the markers that tie tests to the contract."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.runtime import runtime_of

# Else every process that a test starts would compile all that it imports anew: half a second of CPU each.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Else tests that an agent of a run has started could start no runs.
os.environ.pop("CALLSHEET_INSIDE_RUN", None)

# And each session would rewrite all assertions anew.
sys.dont_write_bytecode = False

# What a test of the terminal's dashboard looks for is there at once, not at the end of a movement.
os.environ["TEXTUAL_ANIMATIONS"] = "none"

# Who starts the tests in the background, or under nohup, has these ignored, and so would have every process of theirs.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# What runs of this process leave is out of sight of those of other processes, as theirs is of it.
os.environ["XDG_RUNTIME_DIR"] = str(runtime_of(Path("/")))

_LONGEST_ID = 80


def pytest_make_parametrize_id(val: object) -> str | None:
    """Names a test's long value by its beginning: a name of megabytes is carried through every report of its test."""
    if not isinstance(val, str | bytes) or len(val) <= _LONGEST_ID:
        return None
    begins = val[: _LONGEST_ID // 2]
    return f"{begins if isinstance(begins, str) else begins.decode('latin-1')}... ({len(val)})"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def bytecode(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where compiled modules are kept for all commands, those of later sessions too: only the first compiles them.

    Commands can be forked from here on.
    """
    from tests.surfaces.forking import start

    cache: pytest.Cache | None = getattr(request.config, "cache", None)  # None where it is switched off
    folder = tmp_path_factory.mktemp("bytecode") if cache is None else cache.mkdir("bytecode")
    start(folder)
    return folder


@pytest.fixture(scope="session")
def programs(bytecode: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the programs `callsheet` and `python`, which start at a fraction of the price."""
    from tests.surfaces.programs import open_programs

    with open_programs(tmp_path_factory.mktemp("programs"), bytecode=bytecode) as folder:
        yield folder
