"""A library of a few made-up things."""

from __future__ import annotations

from typing import Any

from callsheet.errors import NotFoundError, ScriptRefusedError
from callsheet.model.call import AgentType
from callsheet.model.script import Finding, Meta, Script
from callsheet.ports import WorkflowLibrary


def script(name: str, text: str = "", origin: str = "x.js", path: str | None = None) -> Script:
    """A script that nobody read."""
    meta = Meta(name=name, description="d", when_to_use=None, phases=(), value={"name": name, "description": "d"})
    return Script(origin=origin, path=path, text=text, body=text, meta=meta, sha256="0")


def read(data: bytes, *, origin: str, path: str | None) -> Script:
    """Takes any bytes for a script."""
    return script("read", data.decode(), origin, path)


class FewThings(WorkflowLibrary):
    """Knows the workflow `review`, the refused one `broken`, and the agent type `Explore`."""

    def workflow(self, name: str) -> Script:
        if name == "broken":
            raise ScriptRefusedError((Finding(severity="error", code="c", contract="S01", message="no meta"),))
        if name != "review":
            raise NotFoundError(f"there is no workflow {name!r}.", name=name, near=("review",))
        return script("review", origin=name)

    def workflow_at(self, script_path: str, *, relative_to: str | None) -> Any:
        raise NotFoundError("no", name=script_path)

    def agent_type(self, name: str) -> AgentType:
        if name != "Explore":
            raise NotFoundError(f"there is no agent type {name!r}.", name=name)
        return AgentType(name=name, description="d")
