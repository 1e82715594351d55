from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.controlled import runtime_folder


@pytest.fixture
def runtime() -> Iterator[Path]:
    """Where sockets lie."""
    with runtime_folder() as folder:
        yield folder
