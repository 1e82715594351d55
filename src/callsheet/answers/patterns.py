"""Regular expressions of schemas, matched within bounds. A script wrote them, so they may be meant to hang the host."""

from __future__ import annotations

import time
from functools import lru_cache

from jsonschema_rs import Draft202012Validator, FancyRegexOptions, RegexOptions

MAX_CHARS = 10_000
"""Longer text is not matched against a pattern: it does not fit. For this much an engine takes 0.3 s at worst."""

ALLOWANCE_S = 0.3
"""Processor time that all patterns together may take for one answer, beyond the last string begun."""

_SIZE_BYTES = 1 << 20

LINEAR = RegexOptions(size_limit=1 << 16, dfa_size_limit=_SIZE_BYTES)
"""For the names of `patternProperties`, which are matched without the bounds of this module."""

_LINEAR = RegexOptions(size_limit=_SIZE_BYTES, dfa_size_limit=_SIZE_BYTES)
_FANCY = FancyRegexOptions(backtrack_limit=20_000, size_limit=_SIZE_BYTES, dfa_size_limit=_SIZE_BYTES)


class PatternError(ValueError):
    """A pattern that the engines cannot read."""


class Pattern:
    """One compiled pattern, found anywhere in a text, as JSON Schema wants it."""

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self._engine = Draft202012Validator({"pattern": text}, offline=True, pattern_options=_LINEAR)
        except ValueError:  # look-around and back-references need the engine that goes back
            try:
                self._engine = Draft202012Validator({"pattern": text}, offline=True, pattern_options=_FANCY)
            except ValueError:
                raise PatternError(text) from None

    def is_in(self, text: str) -> bool:
        """Whether it is found. Text beyond the bounds counts as not."""
        return len(text) <= MAX_CHARS and self._engine.is_valid(text)

    def fault(self, text: str) -> str | None:
        """What is wrong with the text, None when the pattern is found in it."""
        if len(text) > MAX_CHARS:
            return f"is {len(text):,} characters long; with a pattern at most {MAX_CHARS:,} are allowed"
        return None if self._engine.is_valid(text) else f"does not match the pattern `{self.text}`"


@lru_cache(maxsize=1024)
def pattern(text: str) -> Pattern:
    """The compiled pattern.

    Raises:
        PatternError: It cannot be read.
    """
    return Pattern(text)


class Allowance:
    """What is left of the processor time for patterns, over one answer."""

    def __init__(self) -> None:
        self._left_s = ALLOWANCE_S

    def renew(self) -> None:
        """Begins a new answer."""
        self._left_s = ALLOWANCE_S

    def fault(self, rule: Pattern, text: str) -> str | None:
        """As `Pattern.fault`; refuses once the time is used up."""
        if self._left_s <= 0:
            return f"was not matched: the patterns of this schema take too long; this one is `{rule.text}`"
        begun = time.thread_time()
        found = rule.fault(text)
        self._left_s -= time.thread_time() - begun
        return found


class PatternRule:
    """The keyword `pattern`, in place of the library's own, which knows no such bounds."""

    def __init__(self, text: str, allowance: Allowance) -> None:
        self._rule = pattern(text)
        self._allowance = allowance

    def validate(self, instance: object) -> None:
        """Judges one value; called by the library, which takes a ValueError as the violation."""
        if isinstance(instance, str):
            found = self._allowance.fault(self._rule, instance)
            if found is not None:
                raise ValueError(found)
