"""JSON as text that a host may print: nothing in it can act on a terminal or hide, and it is still the same JSON."""

from __future__ import annotations

import json
import re
from typing import Any

from callsheet.views.safe_text import visible

_BEYOND = 0x10000


def json_text(value: Any) -> str:
    """The value as JSON on indented lines; what cannot be seen, or would act, is written as its escape."""
    text = json.dumps(value, ensure_ascii=False, indent=1)
    return text if text.isascii() else _OUTSIDE.sub(_escaped, text)


_OUTSIDE = re.compile(r"[^\x20-\x7e\n]")


def _escaped(match: re.Match[str]) -> str:
    letter = match.group()
    if visible(f"a{letter}") == f"a{letter}":
        return letter
    point = ord(letter)
    if point < _BEYOND:
        return f"\\u{point:04x}"
    above = point - _BEYOND
    return f"\\u{0xD800 + (above >> 10):04x}\\u{0xDC00 + (above & 0x3FF):04x}"
