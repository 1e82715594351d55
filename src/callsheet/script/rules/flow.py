"""Code that is never reached (CONTRACT C01)."""

from __future__ import annotations

from collections.abc import Iterator

from callsheet.model.script import Finding, Script
from callsheet.script import grammar
from callsheet.script.program import FUNCTIONS, Program
from callsheet.script.rules.context import Context

_HOISTED = frozenset({"function_declaration", "generator_function_declaration"})
_NOTHING = frozenset({"comment", "html_comment", "empty_statement"})


def gives_back(script: Script) -> bool:
    """Whether a script returns something anywhere: else its result is null. Where that cannot be told it does."""
    program = Program(script)
    if program.root is None or not program.is_whole:
        return True
    try:
        returned = program.find("(return_statement (_)) @returned").get("returned", ())
        return any(program.enclosing(statement, FUNCTIONS) is None for statement in returned)
    except grammar.OutOfTimeError:
        return True


def unreachable(context: Context) -> Iterator[Finding]:
    """What stands after the script's own `return` or `throw`; functions declared there are reached."""
    root = context.program.root
    if root is None or not context.program.is_whole:
        return
    ended = None
    for statement in root.named_children:
        if ended is not None and statement.type not in _HOISTED | _NOTHING:
            word = "return" if ended.type == "return_statement" else "throw"
            line = context.program.place(ended).line
            message = f"this is never reached: the script ends with the `{word}` of line {line}"
            if ended.named_child_count == 0:
                message += ", which gives nothing back; a value must begin on its line"
            yield context.program.finding("unreachable", "S04", message, statement)
            return
        if statement.type in {"return_statement", "throw_statement"} and ended is None:
            ended = statement
