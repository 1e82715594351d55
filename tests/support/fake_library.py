"""Scripts and agent types by name, without files."""

from __future__ import annotations

import hashlib

from callsheet.errors import NotFoundError, ScriptRefusedError
from callsheet.model.call import AgentType
from callsheet.model.script import Finding, Meta, Script
from callsheet.model.values import Place
from callsheet.ports import WorkflowLibrary


def fake_script(name: str = "play", *, body: str = "main") -> Script:
    """A script that was read; a `FakeSession` knows it by its body."""
    text = f"export const meta = {{ name: '{name}', description: 'a play' }}\n{body}"
    return Script(
        origin=f"{name}.js",
        path=f"/work-folder/{name}.js",
        text=text,
        body=body,
        meta=Meta(
            name=name,
            description="a play",
            when_to_use=None,
            phases=(),
            value={"name": name, "description": "a play"},
        ),
        sha256=hashlib.sha256(text.encode()).hexdigest(),
    )


def refusal(code: str = "meta-missing") -> ScriptRefusedError:
    """A script that cannot be run."""
    place = Place(line=1, column=4)
    finding = Finding(
        severity="error", code=code, contract="S01", message="`secretName` stands before `meta`", place=place
    )
    return ScriptRefusedError((finding,))


class FakeLibrary(WorkflowLibrary):
    """Knows what it is given.

    Attributes:
        asked: What was looked up by path, with the calling script.
    """

    def __init__(
        self,
        *,
        workflows: dict[str, Script | ScriptRefusedError] | None = None,
        agent_types: tuple[AgentType, ...] = (),
    ) -> None:
        self._workflows = workflows or {}
        general = AgentType(name="general-purpose", description="anything")
        self._agent_types = {one.name: one for one in (general, *agent_types)}
        self.asked: list[tuple[str, str | None]] = []

    def workflow(self, name: str) -> Script:
        found = self._workflows.get(name)
        if found is None:
            there_are = ", ".join(sorted(self._workflows))
            raise NotFoundError(f"there is no workflow '{name}'; there are: {there_are}", name=name)
        if isinstance(found, ScriptRefusedError):
            raise found
        return found

    def workflow_at(self, script_path: str, *, relative_to: str | None) -> Script:
        self.asked.append((script_path, relative_to))
        return self.workflow(script_path.removesuffix(".js"))

    def agent_type(self, name: str) -> AgentType:
        found = self._agent_types.get(name)
        if found is None:
            raise NotFoundError(
                f"there is no agent type '{name}'; there are: {', '.join(self._agent_types)}", name=name
            )
        return found
