"""Callsheet as an MCP server: its workflow tools and resources for any host that speaks the protocol."""
