"""What goes wrong with a server."""

from __future__ import annotations


class ServerFailure(Exception):
    """A server cannot be started, or is no longer there. `str()` says why."""
