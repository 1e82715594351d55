"""What every test shares: the event loop that the package runs on, and the markers that tie tests to the contract."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where compiled modules are kept for all commands, so that only the first one compiles them."""
    return tmp_path_factory.mktemp("bytecode")
