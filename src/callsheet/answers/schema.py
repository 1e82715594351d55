"""The schema of an answer: refused when it can never be met; the judge of what agents answer (CONTRACT A03, A04)."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING

from callsheet.answers.soundness import require_object_schema, require_small
from callsheet.model.dataclass import dataclass
from callsheet.model.values import JsonValue

if TYPE_CHECKING:
    from callsheet.answers.judge import Judge


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerSchema:
    """A schema that can be used. Equal schemas share one compiled form, since a thousand agents share one schema.

    Attributes:
        text: The schema as JSON text, the same for equal schemas written in the same order.
    """

    text: str
    _judge: Judge

    @classmethod
    def compile(cls, schema: JsonValue) -> AnswerSchema:
        """Compiles a schema; later changes to the one given have no effect.

        The first call of a process loads the validator (30 to 50 ms); a later one takes 0.2 to 1 ms for a schema that
        is new and 0.03 ms for one that is known. Nothing is ever fetched for a schema, and no schema, whatever is
        in it, makes this or `violations` take longer than about a second.

        Raises:
            SchemaUnusableError: It can never be met, or must not be used (CONTRACT A04). Names the place in it.
        """
        text = json.dumps(require_object_schema(schema), ensure_ascii=False, separators=(",", ":"))
        require_small(text)
        return _compiled(text)

    def accepts(self, value: JsonValue) -> bool:
        """Whether an answer fits."""
        return self._judge.accepts(value)

    def violations(self, value: JsonValue) -> tuple[str, ...]:
        """What is wrong with an answer, empty when it fits.

        At most ten lines of at most 300 characters in order of place, for instance
        `/findings/0/severity: "urgent" is not one of "low", "high"`.
        """
        return () if self._judge.accepts(value) else self._judge.explain(value)


@lru_cache(maxsize=256)
def _compiled(text: str) -> AnswerSchema:
    from callsheet.answers.judge import Judge  # the validator takes 50 ms to load

    # Halves of characters, which JavaScript allows in text, mean nothing to the validator.
    own = json.loads(text.encode("utf-8", "replace"))
    return AnswerSchema(text=text, _judge=Judge(own))
