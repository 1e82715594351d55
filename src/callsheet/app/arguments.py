"""The script's `args`, from words on a command line (CONTRACT G01)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence

from callsheet.errors import UsageError
from callsheet.model.values import JsonValue

_JSON_MEANT = re.compile(r"""\[\s*(["'\[{\]\-0-9]|(true|false|null)\b)""")
"""How a list begins that was meant as JSON; `[WIP] fix the login` does not."""
_PAIR = re.compile(r"[A-Za-z_][\w.-]*=(?!=)")
"""How a word begins that gives one key of the args; `x==1` and `--flag=1` do not."""


def parse_value(text: str, *, flag: str) -> JsonValue:
    """The value of a text: parsed where it is JSON, else the text itself (CONTRACT G01).

    Text that was plainly meant as JSON and is not is an error rather than a string: what begins with `{`, and what
    begins with `[` and goes on or ends as a list does. `[WIP] fix the login` is text.

    Raises:
        UsageError: Broken JSON; names line, column and how to pass such a text as it is.
    """
    try:
        return _load(text)
    except json.JSONDecodeError as fault:
        if _is_meant_as_json(text, fault):
            raise UsageError(_broken(text, fault, flag)) from None
        return text
    except RecursionError:
        raise UsageError(f"{flag}: this JSON is nested too deeply to be read. Pass it flatter.") from None


def parse_arguments(args: str | None, pairs: Sequence[str], words: Sequence[str] = ()) -> tuple[bool, JsonValue]:
    """What `--args`, `--arg key=value` and the words after a workflow say: whether there is a value, and the value.

    Words that are all `key=value` give an object; others are one text, which is parsed where it is JSON.

    Raises:
        UsageError: More than one of the three was given, a pair has no `=` or no key, a key came twice, or broken JSON.
    """
    if args is not None and pairs:
        raise UsageError("--args and --arg exclude each other: --args gives the whole value, --arg one key of it.")
    if words and (args is not None or pairs):
        said = "--args" if args is not None else "--arg"
        raise UsageError(f"{' '.join(words)!r} and {said} both give the script's args. Take one of them away.")
    if args is not None:
        return True, parse_value(args, flag="--args")
    if words and all(map(_PAIR.match, words)):
        return True, _object(words)
    if words:
        return True, parse_value(" ".join(words), flag="--args")
    if not pairs:
        return False, None
    return True, _object(pairs)


def _object(pairs: Sequence[str]) -> JsonValue:
    values: dict[str, JsonValue] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"--arg {pair!r} is not key=value. For the whole value of args use --args.")
        if key in values:
            raise UsageError(f"--arg {key}=… was given twice. For a list write --arg '{key}=[…]'.")
        values[key] = parse_value(text, flag=f"--arg {key}")
    return values


def _load(text: str) -> JsonValue:
    def refuse(word: str) -> JsonValue:
        raise json.JSONDecodeError(f"{word[:20]} is no number of JSON", text, text.index(word))

    def number(digits: str) -> JsonValue:
        value = float(digits)
        if math.isinf(value):
            refuse(digits)
        return int(digits) if digits.lstrip("-").isdigit() else value

    loaded: JsonValue = json.loads(text, parse_constant=refuse, parse_float=number, parse_int=number)
    return loaded


def _is_meant_as_json(text: str, fault: json.JSONDecodeError) -> bool:
    start = text.strip()
    if start.startswith("{"):
        return True
    if not start.startswith("["):
        return False
    if fault.msg.startswith("Extra data"):
        return start.endswith(("]", "}"))
    return start.endswith("]") or _JSON_MEANT.match(start) is not None


def _broken(text: str, fault: json.JSONDecodeError, flag: str) -> str:
    where = f"line {fault.lineno}, column {fault.colno}"
    shown = text.splitlines()[fault.lineno - 1] if fault.lineno <= len(text.splitlines()) else ""
    start = max(0, fault.colno - 31)
    excerpt = shown[start : fault.colno + 29]
    remedy = (
        "Quote it for the shell in single quotes, keys and texts in double quotes: "
        f'{flag} \'{{"key": "value"}}\'. To pass this as plain text, write it as a JSON string.'
    )
    return f"{flag} is not JSON at {where} ({_reason(fault)}): {excerpt!r}. {remedy}"


def _reason(fault: json.JSONDecodeError) -> str:
    return fault.msg[:1].lower() + fault.msg[1:]
