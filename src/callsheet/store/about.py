"""What database is there; for people who look for the cause of something."""

from __future__ import annotations

import sqlite3

OLDEST = (3, 35, 0)


def sqlite_version() -> tuple[str, bool]:
    """The version of SQLite, and whether it is new enough for the record."""
    return sqlite3.sqlite_version, sqlite3.sqlite_version_info >= OLDEST
