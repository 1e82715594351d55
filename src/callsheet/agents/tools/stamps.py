"""What a file held when an agent last saw it, so that nothing is overwritten that it has not seen."""

from __future__ import annotations

import hashlib
import os
from typing import BinaryIO

STAMP_LIMIT_BYTES = 1024 * 1024
"""Up to this size a stamp is made of the content; beyond it, of what the file system says."""


def stamp_of(data: bytes) -> bytes:
    """The stamp of a content."""
    return hashlib.blake2b(data, digest_size=16).digest()


def stamp_of_file(file: BinaryIO) -> bytes:
    """The stamp of an opened file, read from its start."""
    found = os.fstat(file.fileno())
    if found.st_size > STAMP_LIMIT_BYTES:
        return f"{found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}".encode("ascii")
    file.seek(0)
    return stamp_of(file.read())
