from __future__ import annotations

import os
from pathlib import Path

import pytest

from callsheet.agents.claude_code.installed import NO_SDK, find_program, is_installed, require_version
from callsheet.errors import ConfigError


@pytest.fixture(scope="session")
def claude_sdk() -> None:
    """Claude Code's SDK, which is an extra; development brings it."""
    if not is_installed():
        pytest.skip(NO_SDK)


@pytest.fixture(scope="session")
def claude_program() -> Path:
    """Claude Code's real program. It is not free software, and machines without it are machines all the same."""
    try:
        program = find_program(os.environ)
        require_version(program, os.environ)
    except ConfigError as error:
        pytest.skip(f"needs Claude Code's own program: {error.message}")
    return program
