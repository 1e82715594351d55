"""Which workflows a person lets run in a folder without being asked again: by name, folder and content.

Kept in the user's own folder, as trust is. What was said yes to is one text of the script and the terms under which it
was to run; once either is another, the yes no longer holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from callsheet.errors import ConfigError
from callsheet.model.dataclass import dataclass
from callsheet.model.values import JsonValue
from callsheet.permissions.own_file import read_own, write_own, writing_own

APPROVALS_FILE = "approvals.json"
_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A workflow that runs in a folder without a question.

    Attributes:
        folder: The workspace, absolute.
        workflow: Its name (`meta.name`).
        sha256: Of the script's file.
        terms: Under what it may run, one short line each: who answers, and in which mode.
        path: Where the script lay; None where it was no file.
        at: When the person said so, ISO 8601 UTC.
    """

    folder: str
    workflow: str
    sha256: str
    terms: tuple[str, ...]
    path: str | None
    at: str

    def changes(self, *, sha256: str, terms: Sequence[str]) -> tuple[str, ...]:
        """What is other than what was approved, one line each; none where the yes holds."""
        new = tuple(f"new: {term}" for term in terms if term not in self.terms)
        return ("the script changed", *new) if sha256 != self.sha256 else new


class ApprovalStore:
    """Reads and changes what is kept. Every change is on disk when the method returns.

    Args:
        folder: The user's own folder (`Surroundings.config_dir`); made, with mode 0700, when something is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / APPROVALS_FILE

    def approvals(self) -> tuple[Approval, ...]:
        """All that is kept, by folder and name.

        Raises:
            ConfigError: The file cannot be used.
        """
        kept = _folders(self.file)
        return tuple(each for folder in sorted(kept) for each in _in_folder(self.file, folder, kept[folder]))

    def approval(self, folder: Path, workflow: str) -> Approval | None:
        """What is kept of a workflow in a folder; None for nothing.

        Raises:
            ConfigError: As `approvals`.
        """
        named = (str(folder), workflow)
        return next((each for each in self.approvals() if (each.folder, each.workflow) == named), None)

    def approve(self, folder: Path, workflow: str, *, sha256: str, terms: Sequence[str], path: str | None) -> Approval:
        """Remembers a yes. Terms add to those under which the same script was approved before.

        Raises:
            ConfigError: It cannot be kept.
        """
        with writing_own(self.file):
            kept = {(each.folder, each.workflow): each for each in self.approvals()}
            before = kept.get((str(folder), workflow))
            if before is not None and before.sha256 == sha256:
                terms = tuple(dict.fromkeys((*before.terms, *terms)))
            approval = Approval(
                folder=str(folder), workflow=workflow, sha256=sha256, terms=tuple(terms), path=path, at=_now()
            )
            kept[approval.folder, approval.workflow] = approval
            self._write(kept.values())
        return approval

    def revoke(self, *, workflow: str | None = None, folder: Path | None = None) -> tuple[Approval, ...]:
        """Forgets what is kept; gives what that was.

        Args:
            workflow: Only of this name; None for all.
            folder: Only in this workspace; None for all.

        Raises:
            ConfigError: It cannot be changed.
        """
        if read_own(self.file) is None:
            return ()
        with writing_own(self.file):
            kept = self.approvals()
            gone = tuple(
                each
                for each in kept
                if workflow in (None, each.workflow) and (folder is None or each.folder == str(folder))
            )
            if gone:
                self._write(each for each in kept if each not in gone)
        return gone

    def _write(self, approvals: Iterable[Approval]) -> None:
        folders: dict[str, JsonValue] = {}
        for each in approvals:
            workflows = folders.setdefault(each.folder, {})
            assert isinstance(workflows, dict)
            workflows[each.workflow] = {
                "sha256": each.sha256,
                "terms": [*each.terms],
                "path": each.path,
                "at": each.at,
            }
        write_own(self.file, {"version": _VERSION, "folders": folders})


def _folders(path: Path) -> dict[str, JsonValue]:
    value = read_own(path)
    if value is None:
        return {}
    folders = value.get("folders") if isinstance(value, dict) and value.get("version") == _VERSION else None
    if not isinstance(folders, dict):
        raise _not_ours(path)
    return folders


def _in_folder(path: Path, folder: str, value: JsonValue) -> Iterator[Approval]:
    if not isinstance(value, dict):
        raise _not_ours(path)
    for workflow in sorted(value):
        yield _approval(path, folder, workflow, value[workflow])


def _approval(path: Path, folder: str, workflow: str, entry: JsonValue) -> Approval:
    if isinstance(entry, dict):
        sha256, terms, where, at = (entry.get(key) for key in ("sha256", "terms", "path", "at"))
        is_whole = isinstance(sha256, str) and isinstance(at, str) and (where is None or isinstance(where, str))
        if is_whole and isinstance(terms, list) and all(isinstance(term, str) for term in terms):
            return Approval(
                folder=folder,
                workflow=workflow,
                sha256=str(sha256),
                terms=tuple(map(str, terms)),
                path=None if where is None else str(where),
                at=str(at),
            )
    raise _not_ours(path)


def _not_ours(path: Path) -> ConfigError:
    return ConfigError(f"{path} cannot be used: it was not written by this version. Mend or remove it.")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
