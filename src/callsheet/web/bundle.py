"""The page as one file: its modules as one script, its style, and a policy that allows these two and nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent / "page"
_FIRST = "main.js"
_IMPORT = re.compile(r'^import (\{[^}]+\}) from "\./([\w]+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.MULTILINE)
_LINK = '<link rel="stylesheet" href="/assets/app.css">\n'
_SCRIPT = '<script type="module" src="/assets/main.js"></script>\n'
_ACTS = re.compile("[<>&\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
"""What would end a script's element, or acts on whoever reads the file as text; escaped it is the same JSON."""


def page_with(data: Any, *, title: str) -> str:
    """The page with its data in it: one HTML document that asks no network for anything.

    Args:
        data: What the page finds as its `report-data`.
        title: Of the document, as text.
    """
    html = _text("index.html")
    style, script = _text("app.css"), _joined()
    policy = (
        f"default-src 'none'; script-src {_digest(script)}; style-src {_digest(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n<style>{style}</style>\n'
    body = (
        f'<script type="application/json" id="report-data">{embedded_json(data)}</script>\n<script>{script}</script>\n'
    )
    for marker in (_LINK, _SCRIPT, "<title>Callsheet</title>", "</body>"):
        assert html.count(marker) == 1, marker
    html = html.replace(_LINK, head).replace(_SCRIPT, "")
    html = html.replace("<title>Callsheet</title>", f"<title>{_escaped(title)}</title>")
    before, after = html.split("</body>")
    return f"{before}{body}</body>{after}"


def embedded_json(data: Any) -> str:
    """JSON that can stand in an element of HTML: nothing in it ends that element, or is a line end to a script."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return _ACTS.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def _joined() -> str:
    """The modules as one script, each in a function of its own, what it imports before it."""
    done: dict[str, str] = {}

    def add(name: str) -> None:
        if name in done:
            return
        done[name] = ""  # a circle would be met again, and not be gone round
        source = _text(name)
        for found in _IMPORT.finditer(source):
            add(f"{found[2]}.js")
        names = ", ".join(found[1] for found in _EXPORT.finditer(source))
        source = _EXPORT.sub("", _IMPORT.sub(r"const \1 = page_\2;", source))
        del done[name]  # its place is after what it needs
        done[name] = f"const page_{Path(name).stem} = (() => {{\n{source}\nreturn {{ {names} }};\n}})();\n"

    add(_FIRST)
    script = f'"use strict";\n(() => {{\n{"".join(done.values())}}})();\n'
    assert "</" + "script" not in script and "<" + "!--" not in script
    return script


def _text(name: str) -> str:
    return (PAGE / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
