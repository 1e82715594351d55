"""Turns one HTML page into Markdown, in a process of its own, started as `python -I -B html_child.py BASE`.

Pages are hostile: parsers of every make can be kept busy for minutes, or made to take all memory, by a few hundred
kilobytes. So it happens where it can be bounded and killed. Reads the page on standard input; writes the title, a line
end and the Markdown. Imports nothing of this package.
"""

from __future__ import annotations

import html
import os
import re
import resource
import sys

CPU_S = 15
MEMORY_BYTES = 2 * 1024**3


def main() -> None:
    """Reads, converts, writes."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    os.nice(5)
    page = sys.stdin.buffer.read().decode("utf-8", "replace")

    from html_to_markdown import ConversionOptions, convert

    given = ConversionOptions(base_url=sys.argv[1], skip_images=True, extract_metadata=False)
    text = convert(page, given).content or ""
    sys.stdout.buffer.write(f"{_title(page)}\n{text.strip()}\n".encode("utf-8", "replace"))


def _title(page: str) -> str:
    """The text of the first `title` element, on one line; empty where there is none."""
    found = re.search(r"<title(?:\s[^<>]{0,500})?>([^<]{0,2000})", page[:200_000], re.IGNORECASE)
    return " ".join(html.unescape(found[1]).split()) if found else ""


if __name__ == "__main__":
    main()
