"""The control socket of a run: events out, commands in."""
