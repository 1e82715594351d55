"""What a plan makes of the run's own config: the workflow that it names, and what it says against what is there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from callsheet.app.choices import Choices, near
from callsheet.app.run_config import RunConfig, find_config, read_config, workflow_of
from callsheet.app.settings import Resolved
from callsheet.app.trusting import Site
from callsheet.errors import ConfigError
from callsheet.library.agent_types import BUILT_IN
from callsheet.model.dataclass import dataclass
from callsheet.model.policy import ORCHESTRATOR

if TYPE_CHECKING:
    from callsheet.library.library import Library


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedWorkflow:
    """The workflow that is to run.

    Attributes:
        script: A path or a saved name, as the library and the reader have it.
        shown: The same for people.
        note: What is to be said about it at the start; None for nothing.
    """

    script: str
    shown: str
    note: str | None = None


def opened_config(named: Path, *, site: Site, start: Path) -> RunConfig:
    """Finds and reads the run's own config.

    Raises:
        ConfigError: It cannot be read, or something in it cannot hold.
    """
    file = find_config(named, start=start, root=site.root, project=site.project)
    return read_config(file, root=site.project.folder)


def asked_workflow(given: str, config: RunConfig, *, start: Path, site: Site) -> AskedWorkflow:
    """The workflow of an order: what the caller names, else what the config names.

    Raises:
        UsageError: Neither names one.
    """
    if given:
        other = config.workflow or (None if config.script is None else _shown(config.script, start, site))
        note = None if other in (None, given) else f"{given} runs, as asked, not {other} that {config.name} names."
        return AskedWorkflow(script=given, shown=given, note=note)
    named = workflow_of(config)
    return AskedWorkflow(script=named, shown=named if config.script is None else _shown(config.script, start, site))


def _shown(script: Path, start: Path, site: Site) -> str:
    """A script's path as people would name it."""
    for folder in (site.project.folder if site.project.commit is not None else start, start, site.root):
        if script.is_relative_to(folder):
            return str(script.relative_to(folder))
    return str(script)


def check_type_models(config: RunConfig, library: Library, resolved: Resolved) -> None:
    """Sees that `models` of a run config names agent types that are there.

    Raises:
        ConfigError: One is not; names the nearest.
    """
    named = [name for name in config.choices.type_models or {} if name != ORCHESTRATOR]
    known = {ORCHESTRATOR, *(kind.name.casefold() for kind in BUILT_IN)}
    if all(name.casefold() in known for name in named):
        return
    names = tuple(dict.fromkeys(_type_names(library, resolved)))
    known |= {name.casefold() for name in names}
    for name in named:
        if name.casefold() not in known:
            hint = near(name, ("default", ORCHESTRATOR, *names))
            raise ConfigError(f"{config.at(f'models.{name}')} is none of default, orchestrator and agent types. {hint}")


def _type_names(library: Library, resolved: Resolved) -> Iterator[str]:
    yield from resolved.agent_types
    yield from (kind.name for kind in resolved.agents)
    yield from (listed.name for listed in library.agent_types() if listed.problem is None)


def still_recorded(recorded: Choices, config: RunConfig) -> Choices:
    """Of what a record says of a run that which still holds where a config is named anew."""
    said = (each.name for each in fields(Choices) if getattr(config.choices, each.name) is not None)
    gone: dict[str, None] = dict.fromkeys(said)
    return replace(recorded, **gone)
