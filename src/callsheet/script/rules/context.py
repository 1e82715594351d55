"""What a rule is given."""

from __future__ import annotations

from tree_sitter import Node

from callsheet.model.dataclass import dataclass
from callsheet.model.script import Finding, Script
from callsheet.script.meta import MetaStatement
from callsheet.script.program import Program, Severity
from callsheet.script.source import Source
from callsheet.script.values import LiteralReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One script under the checker.

    Attributes:
        statement: Where meta stands; None only for a script that `read_script` did not make.
        portable: Whether what only this runtime has is an error.
    """

    script: Script
    program: Program
    statement: MetaStatement | None
    portable: bool

    @property
    def portability(self) -> Severity:
        """How much what is not portable weighs."""
        return "error" if self.portable else "warning"

    def literal_text(self, node: Node | None) -> str | None:
        """The text that a node surely is: a literal, or the name of a constant that is one."""
        if node is None:
            return None
        reader = LiteralReader(resolve=self.program.only_value)
        value = reader.read(node, "")
        return value if isinstance(value, str) and not reader.faults else None

    def meta_finding(self, code: str, message: str, path: str) -> Finding:
        """A warning at a value of meta."""
        source = Source(text=self.script.text)
        offset = self.statement.start_of(path) if self.statement is not None else 0
        return source.finding(code, "S03", message, offset, severity="warning")
