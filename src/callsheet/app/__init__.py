"""Use cases, and the one place that names concrete classes."""
