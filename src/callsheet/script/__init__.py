"""Text becomes a Script, or a refusal with a place. Nothing of a script is run here, and its syntax is not judged."""
