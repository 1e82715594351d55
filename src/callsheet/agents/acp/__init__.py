"""Agents of others that speak the Agent Client Protocol (agentclientprotocol.com, version 1) over their pipes."""

from callsheet.agents.acp.backend import AcpBackend

__all__ = ["AcpBackend"]
