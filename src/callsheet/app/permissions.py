"""Explaining permissions: the decision that a tool call would get, without running anything."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from callsheet.model.values import JsonValue
from callsheet.permissions.decide import Decider, Decision
from callsheet.permissions.sources import MANAGED_SETTINGS, Flags, PermissionSettings, read_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Explainer:
    """Decides for a folder as a run that starts there would.

    Attributes:
        settings: What holds there, with what is ignored and what cannot be read.
        decider: The policy.
    """

    settings: PermissionSettings
    decider: Decider

    def explain(self, tool: str, given: Mapping[str, object]) -> dict[str, JsonValue]:
        """The decision as public JSON: `decision`, `reason`, `rule`, `source`, `needs_confinement`, `suggestions`."""
        return decision_json(self.decider.decide(tool, given))


def open_explainer(
    *,
    workspace: Path,
    folder: Path,
    flags: Flags,
    environ: Mapping[str, str] | None = None,
    managed: Path | None = None,
) -> Explainer:
    """Reads the settings that hold in a folder.

    Args:
        workspace: Its workspace.
        folder: The folder, in the workspace.
        flags: What the person says.
        environ: Where `HOME` and `CLAUDE_CONFIG_DIR` are looked up; None is this process's.
        managed: Another place for the administrator's file.

    Raises:
        ConfigError: A settings file cannot be read.
        UsageError: A flag cannot hold, or the folder is not in the workspace.
    """
    values = os.environ if environ is None else environ
    home = Path(values.get("HOME") or Path.home())
    config_dir = values.get("CLAUDE_CONFIG_DIR")
    root = workspace.resolve()
    settings = read_settings(
        workspace=root,
        home=home,
        config_dir=Path(config_dir) if config_dir else None,
        flags=flags,
        managed=managed or MANAGED_SETTINGS,
    )
    return Explainer(settings=settings, decider=Decider(settings, root=root, cwd=str(folder.resolve()), home=home))


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
