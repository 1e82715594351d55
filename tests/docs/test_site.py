"""The pages are one book: what is generated is up to date, each page is in the navigation, links lead somewhere."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt

from tests.docs.pages import DOCS, PAGES, ROOT

LIMIT_S = 120


def references() -> dict[str, Any]:
    """What the script that writes the reference pages defines."""
    return runpy.run_path(str(DOCS / "references.py"))


def listed(nav: Any) -> Iterator[str]:
    """The pages of a navigation."""
    for entry in nav if isinstance(nav, list) else nav.values():
        if isinstance(entry, str):
            yield entry
        else:
            yield from listed(entry)


def links(page: Path) -> Iterator[str]:
    """Where the links and pictures of a page lead."""
    for token in MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8")):
        for child in token.children or ():
            if found := child.attrGet("href") or child.attrGet("src"):
                yield str(found)


def anchors(page: Path) -> set[str]:
    """The places of a page that links can name: its headings, and what is named by hand."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    slugs = {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", each).strip().lower()) for each in headings}
    return slugs | set(re.findall(r'<a id="([^"]+)">', text))


def test_the_reference_pages_are_what_the_generator_gives() -> None:
    for page, text in references()["pages"]().items():
        assert page.read_text(encoding="utf-8") == text, f"run: .venv/bin/python docs/references.py ({page.name})"


def test_every_key_of_a_run_config_is_explained() -> None:
    table = (DOCS / "run-config.md").read_text(encoding="utf-8").partition("## The keys")[2]

    keys = re.findall(r"^\| `([^`]+)` \|", references()["_config_table"](), flags=re.MULTILINE)
    shown = [key for key in keys if not key.startswith(("models", "mode_routing"))]
    assert [key for key in shown if f"`{key}`" not in table] == []


def test_every_page_is_in_the_navigation_once() -> None:
    nav = list(listed(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]))

    there = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    assert len(nav) == len(set(nav))
    assert there - set(nav) == set()
    assert set(nav) - there == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    lost = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        target = (page.parent / path) if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


def test_the_site_is_built_without_a_warning_and_asks_no_other_host_for_anything(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )

    assert done.returncode == 0, done.stderr.decode()
    loaded = re.compile(r"""(?:src|<link[^>]*href)=["'](?:https?:)?//|@import|url\(["']?(?:https?:)?//""")
    for file in [*(tmp_path / "site").rglob("*.html"), *(tmp_path / "site").rglob("*.css")]:
        found = loaded.search(file.read_text(encoding="utf-8"))
        assert found is None, f"{file.name}: {found}"
