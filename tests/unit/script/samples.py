"""Scripts for the tests of this room, and the engine as a judge of what they mean."""

from __future__ import annotations

import json

import quickjs

from callsheet.errors import ScriptRefusedError
from callsheet.model.sandbox import SyntaxFault
from callsheet.model.script import Finding, Script
from callsheet.model.values import JsonValue, Place
from callsheet.script.reader import read_script

HEAD = "export const meta = { name: 'sample', description: 'a sample' };\n"


def read(text: str) -> Script:
    return read_script(text.encode(), origin="sample.js", path=None)


def script(body: str, *, phases: str = "") -> Script:
    """A script whose body begins on line 2, with such phases declared."""
    return read(HEAD.replace("}", f", phases: [{{ title: '{phases}' }}] }}" if phases else "}") + body)


def refusal(text: str | bytes) -> ScriptRefusedError:
    """Why a text is refused; fails where it is not."""
    data = text if isinstance(text, bytes) else text.encode()
    try:
        read_script(data, origin="sample.js", path=None)
    except ScriptRefusedError as refused:
        return refused
    raise AssertionError(f"not refused: {text[:200]!r}")


def told(findings: tuple[Finding, ...]) -> list[tuple[str, str]]:
    """What was found and where, without the words."""
    return [(finding.code, str(finding.place)) for finding in findings]


def evaluated(literal: str) -> JsonValue:
    """What the engine makes of a literal, in strict mode."""
    text = quickjs.Context().eval(f"'use strict'; JSON.stringify(({literal}))")
    value: JsonValue = json.loads(
        text, parse_int=lambda digits: int(digits) if abs(int(digits)) <= 2**53 else float(digits)
    )
    return value


def engine_fault(body: str) -> SyntaxFault | None:
    """What the engine says of a body in the bracket that the sandbox puts around it; None where it compiles."""
    opening = "async function f() {\n"
    try:
        quickjs.Context().eval(f"'use strict'; {opening}{body}\n}}")
    except quickjs.JSException as fault:
        message, _, trace = str(fault).removeprefix("SyntaxError: ").partition("\n")
        _, _, position = trace.partition("<input>:")
        if not position:
            return SyntaxFault(message=message, place=None)
        line, column = (int(part) for part in position.split("\n")[0].split(":"))
        lines = body.split("\n")
        if line - 1 > len(lines):
            end = body.rstrip()
            place = Place(line=end.count("\n") + 1, column=len(end) - end.rfind("\n"))
            return SyntaxFault(message=f"the script ends too early ({message})", place=place)
        before = lines[line - 2].encode()[: column - 1].decode(errors="ignore")
        return SyntaxFault(message=message, place=Place(line=line - 1, column=len(before) + 1))
    return None
