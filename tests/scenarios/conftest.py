"""A small project in git, with a person's uncommitted work in it, and the command in its folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.surfaces.command import Command
from tests.unit.workspace.test_git import by_hand
from tests.unit.workspace.test_worktree import write

CART = '''\
def total(prices, discount=0):
    """What is to be paid, in cents."""
    return sum(prices) + discount
'''
TESTS = """\
import unittest

from shop.cart import total


class Total(unittest.TestCase):
    def test_a_discount_is_taken_off(self):
        self.assertEqual(total([200, 300], discount=100), 400)


if __name__ == "__main__":
    unittest.main()
"""


@pytest.fixture
def command(tmp_path: Path, bytecode: Path) -> Command:
    """The command, in a git checkout of the project: `total` adds the discount, and its test fails."""
    root = tmp_path / "workspace"
    (tmp_path / "home").mkdir()
    root.mkdir()
    write(root, "shop/__init__.py", "")
    write(root, "shop/cart.py", CART)
    write(root, "tests/__init__.py", "")
    write(root, "tests/test_cart.py", TESTS)
    write(root, "README.md", "# Shop\n")
    write(root, ".gitignore", ".callsheet/\ncase.js\n")
    by_hand(root, "init", "-q", "-b", "main")
    by_hand(root, "add", ".")
    by_hand(root, "commit", "-q", "-m", "first")
    write(root, "README.md", "# Shop\n\nIn the middle of something.\n")
    return Command(root, bytecode=bytecode)
