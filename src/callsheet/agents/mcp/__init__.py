"""MCP servers: started on first use, held for a run; their tools offered, and called as was decided before."""
