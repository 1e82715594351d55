"""Running one shell command of an agent to its end, with all that it starts."""
