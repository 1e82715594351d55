"""Agents whose model is reached through Claude Code, so that a plan can pay for them; their tools are ours."""

from callsheet.agents.claude_code.backend import ClaudeCodeBackend

__all__ = ["ClaudeCodeBackend"]
