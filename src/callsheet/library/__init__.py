"""Finding things by name: saved workflows and agent types (FORMATS 6)."""
