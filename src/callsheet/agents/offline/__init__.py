"""The agent without a model: the real path through client, runner, tools and permissions, and no network."""

from callsheet.agents.offline.backend import OfflineBackend

__all__ = ["OfflineBackend"]
