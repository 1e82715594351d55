"""What can go wrong with a path inside a workspace, as one typed error."""

from __future__ import annotations

import errno
import os
from typing import Literal

from callsheet.errors import CallsheetError

PathFault = Literal["bad_path", "link", "missing", "not_a_file", "not_a_folder", "read_only", "too_large", "system"]


class WorkspacePathError(CallsheetError):
    """A file of the workspace cannot be opened, read or written. Raised by `callsheet.workspace.files`.

    Attributes:
        relative: The path as given.
        fault: What is wrong; `link` where a symbolic link stands in the way, which is never followed.
    """

    def __init__(self, message: str, *, relative: str, fault: PathFault) -> None:
        super().__init__(message)
        self.relative = relative
        self.fault = fault


_KNOWN: dict[int, tuple[PathFault, str]] = {
    errno.ENOENT: ("missing", "does not exist"),
    errno.ENOTDIR: ("not_a_folder", "leads through a file as if that were a folder"),
    errno.EISDIR: ("not_a_file", "is a folder, not a file"),
    errno.ELOOP: ("link", "is or leads through a symbolic link, which is not followed here"),
    errno.EACCES: ("read_only", "may not be opened: permission denied"),
    errno.EPERM: ("read_only", "may not be opened: permission denied"),
    errno.EROFS: ("read_only", "lies on a read-only file system"),
}


def path_error(relative: str, error: OSError) -> WorkspacePathError:
    """What the system said, as our error."""
    number = error.errno or 0
    fault, what = _KNOWN.get(number, ("system", f"cannot be used: {os.strerror(number).lower()}"))
    return WorkspacePathError(f"{relative} {what}.", relative=relative, fault=fault)
