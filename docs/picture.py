"""Makes the README's picture: a real run in a real terminal (tmux), read off the screen while it goes on.

.venv/bin/python docs/picture.py        needs tmux
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

HERE = Path(__file__).resolve().parent
SESSION = "callsheet-picture"
COLUMNS, ROWS = 112, 20


def screen() -> str:
    """What the terminal shows now, with its colours."""
    shown = subprocess.run(
        ["tmux", "capture-pane", "-t", SESSION, "-p", "-e"],
        capture_output=True,
        text=True,
        check=True,
        encoding="utf-8",
    )
    return shown.stdout.rstrip("\n")


def main() -> None:
    """Runs the tour on a clone, waits until agents of the second phase are at work, and keeps that screen as SVG."""
    with tempfile.TemporaryDirectory(prefix="tour-") as folder:
        clone = Path(folder) / "callsheet"
        subprocess.run(["git", "clone", "--quiet", str(HERE.parent), str(clone)], check=True)
        shown = filmed(clone)
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text("$ callsheet run examples/tour/workflow.js"))
    console.print(Text.from_ansi(shown))
    svg = console.export_svg(title="callsheet")
    # The picture needs nothing from elsewhere: no fonts by address, the reader's own will do.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font-family: [^;]*;", "font-family: monospace;", svg)
    (HERE / "run.svg").write_text(svg, encoding="utf-8")


def filmed(folder: Path) -> str:
    """The screen of a run at its liveliest."""
    command = f"PS1='$ '; clear; {sys.executable} -m callsheet run examples/tour/workflow.js --backend offline; sleep 9"
    subprocess.run(
        ["tmux", "new-session", "-d", "-s", SESSION, "-x", str(COLUMNS), "-y", str(ROWS), command],
        cwd=folder,
        check=True,
    )
    try:
        best = ""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            now = screen()
            best = now if "at work" in now else best
            if best and "at work" not in now:
                break
            if "Check" in now and "●" in now.partition("Check")[2]:
                break
            time.sleep(0.02)
    finally:
        subprocess.run(["tmux", "kill-session", "-t", SESSION], check=False)
    return best


if __name__ == "__main__":
    main()
