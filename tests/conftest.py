"""What every test shares: the event loop that the package runs on, and the markers that tie tests to the contract."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
