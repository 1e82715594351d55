"""What every test shares: the event loop that the package runs on, and the markers that tie tests to the contract."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def bytecode(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where compiled modules are kept for all commands, those of later sessions too: only the first compiles them."""
    cache: pytest.Cache | None = getattr(request.config, "cache", None)  # None where it is switched off
    return tmp_path_factory.mktemp("bytecode") if cache is None else cache.mkdir("bytecode")
