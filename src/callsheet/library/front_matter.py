"""YAML of which only text, lists and mappings are wanted."""

from __future__ import annotations

import yaml


class PlainLoader(yaml.BaseLoader):
    """Loads every scalar as text, makes no objects, and refuses aliases, which can make gigabytes of a few lines."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Composes one node; called by the library."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="aliases are not supported", problem_mark=self.get_mark())
        return super().compose_node(parent, index)
