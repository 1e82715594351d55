"""The part of GitHub's expressions that `action.yml` and the recipes need; anything else is an error, not a guess."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_TOKEN = re.compile(r"\s*(?:(&&|\|\||==|!=|[!()])|'((?:[^']|'')*)'|(\d+(?:\.\d+)?)|([A-Za-z_][\w.-]*))")
_HOLE = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
STATUS_FUNCTIONS = ("always", "success", "failure", "cancelled")


class Expression:
    """One expression, evaluated over contexts and the status of the job."""

    def __init__(self, text: str, contexts: Mapping[str, Any], *, status: str = "success") -> None:
        self._tokens: list[tuple[str, str]] = []
        self._contexts, self._status = contexts, status
        at, text = 0, text.strip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise AssertionError(f"not understood: {text[at:]!r}")
            at = match.end()
            kind = ("operator", "text", "number", "name")[(match.lastindex or 1) - 1]
            self._tokens.append((kind, match[match.lastindex or 1]))
        self.names = [word for kind, word in self._tokens if kind == "name"]

    @property
    def has_status_function(self) -> bool:
        return any(name in STATUS_FUNCTIONS for name in self.names)

    def value(self) -> Any:
        found = self._or()
        assert not self._tokens, f"left over: {self._tokens}"
        return found

    def _peek(self) -> str:
        return self._tokens[0][1] if self._tokens and self._tokens[0][0] == "operator" else ""

    def _or(self) -> Any:
        found = self._and()
        while self._peek() == "||":
            self._tokens.pop(0)
            other = self._and()
            found = found if _is_true(found) else other
        return found

    def _and(self) -> Any:
        found = self._compared()
        while self._peek() == "&&":
            self._tokens.pop(0)
            other = self._compared()
            found = other if _is_true(found) else found
        return found

    def _compared(self) -> Any:
        found = self._single()
        if self._peek() in ("==", "!="):
            _, operator = self._tokens.pop(0)
            return _equal(found, self._single()) is (operator == "==")
        return found

    def _single(self) -> Any:
        kind, word = self._tokens.pop(0)
        if (kind, word) == ("operator", "!"):
            return not _is_true(self._single())
        if (kind, word) == ("operator", "("):
            found = self._or()
            assert self._tokens.pop(0) == ("operator", ")")
            return found
        if kind == "text":
            return word.replace("''", "'")
        if kind == "number":
            return float(word)
        if self._peek() == "(":
            assert [self._tokens.pop(0)[1], self._tokens.pop(0)[1]] == ["(", ")"]
            assert word in STATUS_FUNCTIONS, word
            return word == "always" or word == self._status
        return _looked_up(self._contexts, word)


def _looked_up(contexts: Mapping[str, Any], path: str) -> Any:
    root, *parts = path.split(".")
    found: Any = contexts[root]
    for part in parts:
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _is_true(value: Any) -> bool:
    return value not in (None, False, "", 0)


def _equal(left: Any, right: Any) -> bool:
    """GitHub's loose equality: text without case; unlike kinds as numbers."""
    if isinstance(left, str) and isinstance(right, str):
        return left.lower() == right.lower()
    return _number(left) == _number(right)


def _number(value: Any) -> float | None:
    if value is None or value == "":
        return 0.0
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def is_to_run(condition: str | None, contexts: Mapping[str, Any], status: str) -> bool:
    """Whether a step runs; one that names no status function runs only while all is well."""
    expression = Expression(condition or "success()", contexts, status=status)
    is_bound = not expression.has_status_function
    return _is_true(expression.value()) and (not is_bound or status == "success")


def filled(text: str, contexts: Mapping[str, Any]) -> str:
    """A text with its `${{ }}` replaced."""

    def value(match: re.Match[str]) -> str:
        found = Expression(match[1], contexts).value()
        if isinstance(found, bool):
            return "true" if found else "false"
        return "" if found is None else str(found)

    return _HOLE.sub(value, text)
