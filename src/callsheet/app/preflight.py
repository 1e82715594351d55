"""What a script says literally, tried before any money is spent: models, agent types, effort, nested names, schemas."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import assert_never

from callsheet.errors import NotFoundError, SchemaUnusableError, ScriptRefusedError
from callsheet.model.call import EFFORTS
from callsheet.model.script import Finding, LiteralUse, Script
from callsheet.model.values import JsonValue
from callsheet.ports import WorkflowLibrary

MAX_FINDINGS = 50


class Preflight:
    """Tries literals of a script against what the run will have.

    Args:
        library: Where agent types and nested workflows are looked up.
        schema_fault: Why a schema cannot be used, None if it can.
        model_fault: Why a model will not be had, None if it may.
    """

    def __init__(
        self,
        *,
        library: WorkflowLibrary,
        schema_fault: Callable[[JsonValue], str | None],
        model_fault: Callable[[str], str | None],
    ) -> None:
        self._library = library
        self._schema_fault = schema_fault
        self._model_fault = model_fault

    def findings(self, script: Script, uses: Iterable[LiteralUse]) -> tuple[Finding, ...]:
        """One warning for each literal that will not do, in order of place, at most fifty."""
        lines = script.text.split("\n")
        found: list[Finding] = []
        for use in uses:
            message = self._fault(use)
            if message is None:
                continue
            line = lines[use.place.line - 1] if use.place.line <= len(lines) else None
            found.append(
                Finding(
                    severity="warning",
                    code=f"preflight-{use.kind.replace('_', '-')}",
                    contract=_CONTRACT[use.kind],
                    message=message,
                    place=use.place,
                    source_line=line,
                )
            )
            if len(found) == MAX_FINDINGS:
                break
        return tuple(found)

    def _fault(self, use: LiteralUse) -> str | None:
        if use.kind == "schema":
            return self._schema_fault(use.value)
        if not isinstance(use.value, str):
            return None
        match use.kind:
            case "model":
                return self._model_fault(use.value)
            case "effort":
                if use.value.lower() not in EFFORTS:
                    return f"effort {use.value!r} does not exist; it is one of {', '.join(EFFORTS)}."
            case "isolation":
                if use.value != "worktree":
                    return f"isolation {use.value!r} does not exist; it is 'worktree'."
            case "agent_type":
                fault = self._name_fault(lambda name: self._library.agent_type(name), use.value)
                return None if fault is None else f"{fault} --agent-type {use.value}=OTHER takes another for it."
            case "workflow":
                return self._name_fault(lambda name: self._library.workflow(name), use.value)
            case _:
                assert_never(use.kind)
        return None

    @staticmethod
    def _name_fault(find: Callable[[str], object], name: str) -> str | None:
        try:
            find(name)
        except NotFoundError as fault:
            return fault.message
        except ScriptRefusedError as fault:
            return f"the workflow {name!r} is refused: {fault.message}"
        return None


_CONTRACT = {
    "model": "A07",
    "agent_type": "A09",
    "effort": "A09",
    "isolation": "A09",
    "workflow": "W02",
    "schema": "A04",
}


def refused_by_preflight(script: Script, findings: tuple[Finding, ...]) -> ScriptRefusedError:
    """The refusal that `--preflight refuse` makes of warnings."""
    errors = tuple(replace(finding, severity="error") for finding in findings)
    return ScriptRefusedError(errors, workflow=script.meta.name)


def schema_fault(schema: JsonValue) -> str | None:
    """Why a schema can never be met or used (CONTRACT A04)."""
    from callsheet.answers.schema import AnswerSchema

    try:
        AnswerSchema.compile(schema)
    except SchemaUnusableError as fault:
        return fault.message
    return None
