"""Agents on the Messages API, through the Anthropic client. Importing this package does not import that client."""

from callsheet.agents.anthropic.backend import AnthropicBackend

__all__ = ["AnthropicBackend"]
