"""Every command and script in the documentation does what its page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import PAGES, REASONS, ROOT, blocks
from tests.docs.play import add_sqlite, open_stage, play


@pytest.fixture(scope="session")
def commands(programs: Path) -> Path:
    """The folder of the programs that pages call."""
    add_sqlite(programs)
    return programs


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_does_what_it_says(page: Path, commands: Path, tmp_path: Path, bytecode: Path) -> None:
    found = blocks(page)
    if not found:
        return
    with open_stage(commands, tmp_path, bytecode) as stage:
        for block in found:
            play(block, stage)


def test_what_is_not_run_says_why_and_no_block_is_without_a_language() -> None:
    shown = [block for page in PAGES for block in blocks(page)]

    assert [block.place for block in shown if block.kind == "not run" and block.note not in REASONS] == []
    assert [block.place for block in shown if block.language in ("", "indented")] == []
