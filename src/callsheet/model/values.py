"""JSON values and places in a script: the two shapes that every room shares."""

from __future__ import annotations

from typing import TypeAlias

from callsheet.model.dataclass import dataclass

JsonValue: TypeAlias = bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"] | None
"""What JSON can hold. A script's values cross into Python only in this form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A position in the script as its author wrote it (CONTRACT S06).

    Attributes:
        line: From 1, counted in the file as written.
        column: From 1, in characters (code points), or None where only the line is known.
    """

    line: int
    column: int | None = None

    def __str__(self) -> str:
        return f"{self.line}:{self.column}" if self.column is not None else f"{self.line}"
