"""tree-sitter: grammars, parsing within a time limit, and queries. The only file that knows how they are called.

A tree says where things stand; it never says that a script is wrong: the grammar takes some scripts that the engine
refuses and trips over some that the engine takes (DESIGN, "Found by trying").
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cache, lru_cache

import tree_sitter_javascript
from tree_sitter import Language, Node, Parser, Query, QueryCursor, Tree

LIMIT_S = 1.0
"""CPU seconds for the tree of one script and what is looked up in it. A real one of 263 KB takes 0.1 in all."""

_CHUNK_BYTES = 4096
_MANY = 2_000
"""Levels, or tokens in a row that are no nodes of their own, beyond which the library's own searches take minutes."""


class OutOfTimeError(Exception):
    """A script takes longer to look at than any that people write."""


class Deadline:
    """CPU time of this thread that looking at a script may still take."""

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        self._end_s = time.thread_time() + limit_s

    def has_passed(self) -> bool:
        """Whether the time is up."""
        return time.thread_time() > self._end_s

    def check(self) -> None:
        """Goes on while there is time.

        Raises:
            OutOfTimeError: There is none.
        """
        if self.has_passed():
            raise OutOfTimeError


@cache
def javascript() -> Language:
    """The JavaScript grammar."""
    return Language(tree_sitter_javascript.language())


@cache
def typescript() -> Language:
    """The TypeScript grammar; loaded only for scripts that are not JavaScript."""
    import tree_sitter_typescript

    return Language(tree_sitter_typescript.language_typescript())


def parse(data: bytes, deadline: Deadline, *, language: Language | None = None) -> Tree | None:
    """The tree of a text in UTF-8; None for one that takes too long or is too deep to be searched."""
    parser = Parser(language or javascript())
    try:
        tree = parser.parse(
            lambda offset, _: data[offset : offset + _CHUNK_BYTES],
            progress_callback=lambda _, __: deadline.has_passed(),
        )
    except ValueError:
        return None
    if not _is_searchable(tree.root_node, deadline):
        return None
    # A tree whose text is read through a callback is slow to search. Parsed once more over the bytes themselves it is
    # the same tree, taken over whole; only where there are errors would that be work again, without a limit.
    return tree if tree.root_node.has_error else parser.parse(data, tree)


@lru_cache(maxsize=1)
def javascript_tree(text: str) -> Tree | None:
    """The JavaScript tree of a body; None as of `parse`.

    The last one is kept: reading, checking and trying out one script look at the same body one after the other.
    """
    return parse(text.encode(), Deadline())


def _is_searchable(root: Node, deadline: Deadline) -> bool:
    """Whether queries end in good time: they cannot be interrupted, and some shapes of no real script cost minutes."""
    waiting = [(root, 0)]
    while waiting:
        node, depth = waiting.pop()
        if depth > _MANY or deadline.has_passed():
            return False
        if node.descendant_count <= _MANY:
            continue
        run = 0
        for child in node.children:
            run = 0 if child.is_named else run + 1
            if run > _MANY:
                return False
            if child.descendant_count > _MANY:
                waiting.append((child, depth + 1))
    return True


@cache
def query(source: str, *, of_typescript: bool = False) -> Query:
    """A query, compiled once."""
    return Query(typescript() if of_typescript else javascript(), source)


def captures(wanted: Query, node: Node) -> dict[str, list[Node]]:
    """What a query captures below a node, by name, in order of place."""
    return {
        name: sorted(nodes, key=lambda found: found.start_byte)
        for name, nodes in QueryCursor(wanted).captures(node).items()
    }


def faults(root: Node, *, limit: int = 200) -> Iterator[Node]:
    """The places where the grammar lost its way, in order, at most `limit`: errors, and tokens it made up."""
    waiting = [root] if root.has_error else []
    while waiting and limit:
        node = waiting.pop()
        if node.is_error or node.is_missing:
            limit -= 1
            yield node
        else:
            waiting.extend(child for child in reversed(node.children) if child.has_error)
