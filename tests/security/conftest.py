"""What the security tests of the real command share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.surfaces.command import Command


@pytest.fixture
def command(tmp_path: Path, bytecode: Path) -> Command:
    """The command, in a new folder that is no git repository."""
    (tmp_path / "workspace").mkdir()
    (tmp_path / "home").mkdir()
    return Command(tmp_path / "workspace", bytecode=bytecode)
