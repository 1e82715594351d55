"""A run that says hostile things wherever it can say anything, and what may be seen of that: text, and nothing else."""

from __future__ import annotations

import json
import re
from typing import Any

HTML = "<img src=x onerror=alert(1)></script><script>alert(2)</script><!--"
ANSI = "\x1b[2J\x1b]0;owned\x07\x1b]8;;//evil\x07\x9b31m"
BIDI = "\u202egnp.exe\u2066 \u200bhidden\u2028line\ufeff"
MARKUP = "[bold]x[/bold][@click=app.quit]q[/][link=//evil]l[/][/]"
HOSTILE = f"{HTML}{ANSI}{BIDI}{MARKUP}\x00\b\r\n::error::x\n##[error]x"
"""Everything at once; short enough for a label."""

LONG = "W" * 5_000
"""A line longer than any screen."""

ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2028\u202a-\u202e\u2066-\u2069\ufeff]")
"""What must not come to a page or a line: controls, and what hides or turns text."""

_TEXT, _LONG = json.dumps(HOSTILE), json.dumps(HOSTILE + LONG)
BODY = f"""
phase({_TEXT})
log({_LONG})
await agent({_LONG}, {{ label: 'good ' + {_TEXT} }})
await parallel([() => agent('fails', {{ label: 'bad ' + {_TEXT}, phase: {_TEXT} }})])
return {{ [{_TEXT}]: [{_LONG}] }}
"""
ANSWERS: tuple[dict[str, Any], ...] = (
    {"prompt": "fails", "error": HOSTILE + LONG},
    {"label": "*", "result": HOSTILE + LONG, "delay_ms": 300},
)
META = f"export const meta = {{ name: 'case', description: {_TEXT}, phases: [{{ title: 'x', detail: {_TEXT} }}] }}\n"


def only_text(shown: str) -> bool:
    """Whether nothing in what a surface shows acts, hides or turns."""
    return ACTING.search(shown) is None
