"""The record on disk: SQLite, one writer (FORMATS 4)."""
