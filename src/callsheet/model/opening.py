"""How a conversation began: what its turns keep in whatever run, so that the service's prompt cache is read."""

from __future__ import annotations

import json
import re
from dataclasses import asdict

from callsheet.model.dataclass import dataclass

_WORD = re.compile(r"[0-9a-f]{8}")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_MARK = re.compile(r"<(/?)data-[0-9a-f]{8}>")
_MAX_GIT_CHARS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What of a conversation's system prompt another run would say otherwise.

    Never shown: whoever knows the word could try to imitate the marks.

    Attributes:
        word: Of the marks around text that is not ours.
        git: Where git stood; None without git.
        date: Of the run, ISO 8601.
        digest: Of all that a request says before its first message; empty while that is not known.
        has_moved: Since then a run found another date or git state, of which turns are told.
    """

    word: str
    git: str | None
    date: str
    digest: str = ""
    has_moved: bool = False

    @property
    def text(self) -> str:
        """For the record."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def read(cls, text: str | None) -> Opening | None:
        """From the record; None where it has none, or one that this program did not write."""
        try:
            said = json.loads(text or "null")
        except ValueError:
            return None
        if not isinstance(said, dict):
            return None
        word, git, date, digest = (said.get(name) for name in ("word", "git", "date", "digest"))
        if not (isinstance(word, str) and _WORD.fullmatch(word) and isinstance(date, str) and _DATE.fullmatch(date)):
            return None
        if not (git is None or (isinstance(git, str) and git.isprintable() and len(git) <= _MAX_GIT_CHARS)):
            return None
        if not (isinstance(digest, str) and digest):
            return None
        return cls(word=word, git=git, date=date, digest=digest, has_moved=bool(said.get("has_moved")))


def without_words(text: str) -> str:
    """A text for people and programs, without the words of marks that stand in it."""
    return _MARK.sub(r"<\1data>", text)
