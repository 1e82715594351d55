"""The pages of the documentation, and the fenced blocks in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = (ROOT / "README.md", *sorted(DOCS.rglob("*.md")))

REASONS = (
    "it asks a person at a terminal",
    "it needs a key",
    "it needs a second terminal",
    "it needs an account on that platform",
    "it needs the network",
    "it opens a screen of its own",
    "it installs software",
    "it is a service of yours",
    "it goes on until it is ended",
    "it runs on the machines of a code host",
)
"""Why a block may be shown and not run. A reason that is not here is looked at by a person first."""

_COMMENT = re.compile(r"<!--\s*(not run|setup|rehearsed with|refused|file):?\s*(.*?)\s*-->", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block, and the comment before it that says how it is taken.

    Attributes:
        line: In its page, from 1.
        kind: Of the comment: `not run`, `rehearsed with`, `refused`, `file`; empty where there is none. The kind
            `setup` is a block by itself, of language `bash`, that readers do not see.
        note: What the comment says.
    """

    page: Path
    line: int
    language: str
    text: str
    kind: str = ""
    note: str = ""

    @property
    def place(self) -> str:
        """For messages."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def file(self) -> str | None:
        """The file that the block is: by its comment, or by a first line that is a comment and nothing but a path."""
        if self.kind == "file":
            return self.note
        found = re.match(r"(?://|#)\s*([\w.~/-]+\.\w+)\s*\n", self.text)
        return None if found is None else found[1]


def blocks(page: Path) -> tuple[Block, ...]:
    """All blocks of a page, in order."""
    return tuple(_blocks(page))


def _blocks(page: Path) -> Iterator[Block]:
    kind, note = "", ""
    for token in MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8")):
        line = (token.map or [0])[0] + 1
        match token.type:
            case "html_block" if found := _COMMENT.fullmatch(token.content.strip()):
                kind, note = found[1], found[2]
                if kind == "setup":
                    yield Block(page=page, line=line, language="bash", text=note, kind=kind)
                    kind = note = ""
            case "fence":
                yield Block(page=page, line=line, language=token.info.strip(), text=token.content, kind=kind, note=note)
                kind = note = ""
            case "code_block":
                yield Block(page=page, line=line, language="indented", text=token.content)
            case _:
                assert not kind, f"{page.name}:{line}: the comment `{kind}` stands before no block"


def commands(text: str) -> tuple[str, ...]:
    """The commands of a block: of a `console` those behind `$ `, with the lines that go on behind `> `."""
    found: list[str] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append(line[2:])
        elif line.startswith("> ") and found:
            found[-1] += "\n" + line[2:]
    return tuple(found)
