"""Explaining permissions: the decision that a tool call would get, without running anything."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from callsheet.app import compose, places
from callsheet.app.plan import Surroundings, site_of
from callsheet.app.settings import Choices
from callsheet.app.trusting import PermissionChoices, settle
from callsheet.model.dataclass import dataclass
from callsheet.model.values import JsonValue
from callsheet.permissions.decide import Decider, Decision
from callsheet.permissions.sources import PermissionSettings

if TYPE_CHECKING:
    from callsheet.app.config_from import ConfigCopy


@dataclass(frozen=True, slots=True, kw_only=True)
class Explainer:
    """Decides for a folder as a run that starts there would.

    Attributes:
        settings: What holds there.
        notes: What is ignored and what cannot be read, one line each.
        decider: The policy.
    """

    settings: PermissionSettings
    notes: tuple[str, ...]
    decider: Decider

    def explain(self, tool: str, given: Mapping[str, object]) -> dict[str, JsonValue]:
        """The decision as public JSON: `decision`, `reason`, `rule`, `source`, `needs_confinement`, `suggestions`."""
        return decision_json(self.decider.decide(tool, given))


@asynccontextmanager
async def open_explainer(
    said: PermissionChoices, around: Surroundings, *, workspace: Path | None = None
) -> AsyncGenerator[Explainer]:
    """Reads the settings that hold in a folder.

    Args:
        said: What the person says, as for a run.
        around: The machine; the folder is `start`, unless it is not in the workspace.
        workspace: Its workspace; None to find it.

    Raises:
        ConfigError: A settings file cannot be read.
        UsageError: A flag cannot hold.
    """
    found = places.workspace(around.start, workspace)
    if said.config_from is None:
        yield _explainer(said, around, found.root, None)
        return
    from callsheet.app.config_from import open_config_copy

    opened = open_config_copy(found, said.config_from, script=None, start=around.start, environ=around.environ)
    async with opened as copy:
        yield _explainer(said, around, found.root, copy)


def _explainer(said: PermissionChoices, around: Surroundings, root: Path, copy: ConfigCopy | None) -> Explainer:
    site = site_of(around, root, copy)
    library = compose.library(site.project.folder, start=site.start, home=site.home, environ=site.environ)
    settled = settle(site, said, Choices(), library, start=around.start, needs_hooks=False)
    folder = around.start.resolve()
    cwd = str(folder) if folder.is_relative_to(root) else "."
    return Explainer(
        settings=settled.permissions,
        notes=settled.notes,
        decider=Decider(settled.permissions, root=root, cwd=cwd, home=around.home),
    )


def decision_json(decision: Decision) -> dict[str, JsonValue]:
    """A decision as public JSON."""
    return {
        "decision": decision.decision.value,
        "reason": decision.reason,
        "rule": decision.rule,
        "source": decision.source,
        "needs_confinement": decision.needs_confinement,
        "suggestions": [*decision.suggestions],
    }
