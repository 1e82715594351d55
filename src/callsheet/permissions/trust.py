"""Which workspaces a person trusts, by folder and content, and what was allowed "always for this project" (DESIGN 14).

Both are kept in the user's own folder. What a person saw and said yes to is a list of things that a workspace's files
ask for, and the content of those files; once that is another, the yes no longer holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from callsheet.errors import ConfigError
from callsheet.model.dataclass import dataclass
from callsheet.model.values import JsonValue
from callsheet.permissions.own_file import read_own, write_own, writing_own
from callsheet.permissions.sources import Kept

TRUST_FILE = "trust.json"
GRANTS_FILE = "grants.json"
_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusted:
    """A folder that a person trusts.

    Attributes:
        files: What was trusted: the hash of each file's content, by its name in the folder.
        granted: What the files asked for, in words, when the person said yes.
        at: When, ISO 8601 UTC.
    """

    folder: str
    files: Mapping[str, str]
    granted: tuple[str, ...]
    at: str


class TrustStore:
    """Reads and changes what is kept. Every change is on disk when the method returns.

    Args:
        folder: The user's own folder (`Surroundings.config_dir`); made, with mode 0700, when something is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.trust_file = folder / TRUST_FILE
        self.grants_file = folder / GRANTS_FILE

    # --- trust ------------------------------------------------------------------------------------------------------

    def trusted(self) -> tuple[Trusted, ...]:
        """All folders that are trusted, by name.

        Raises:
            ConfigError: The file cannot be used.
        """
        folders = _folders(self.trust_file)
        return tuple(_trusted(self.trust_file, name, folders[name]) for name in sorted(folders))

    def trusted_folder(self, workspace: Path) -> Trusted | None:
        """What was trusted of one workspace; None where nothing was.

        Raises:
            ConfigError: As `trusted`.
        """
        return next((each for each in self.trusted() if each.folder == str(workspace)), None)

    def trust(self, workspace: Path, *, files: Mapping[str, str], granted: Sequence[str]) -> Trusted:
        """Remembers that a person trusts a workspace as it is now.

        Raises:
            ConfigError: It cannot be kept.
        """
        entry: JsonValue = {"files": dict(files), "granted": [*granted], "at": _now()}
        with writing_own(self.trust_file):
            folders = _folders(self.trust_file)
            folders[str(workspace)] = entry
            write_own(self.trust_file, {"version": _VERSION, "folders": folders})
        return _trusted(self.trust_file, str(workspace), entry)

    def revoke(self, workspace: Path) -> tuple[bool, int]:
        """Forgets a workspace: its trust, and what was allowed always.

        Returns:
            Whether it was trusted, and how many rules were kept.

        Raises:
            ConfigError: It cannot be changed.
        """
        was_trusted = _forget(self.trust_file, workspace) is not None
        rules = _forget(self.grants_file, workspace)
        return was_trusted, len(_texts(rules.get("rules")) or ()) if isinstance(rules, dict) else 0

    # --- rules allowed always ---------------------------------------------------------------------------------------

    def kept(self, workspace: Path) -> Kept | None:
        """The rules that a person allowed always for a workspace, None where there are none.

        Raises:
            ConfigError: The file cannot be used.
        """
        rules = dict(self.all_kept()).get(str(workspace), ())
        return Kept(rules=rules, name=f"{self.grants_file} (allowed always for this project)") if rules else None

    def all_kept(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Every workspace for which rules are kept, with them.

        Raises:
            ConfigError: The file cannot be used.
        """
        folders = _folders(self.grants_file)
        return tuple((name, _rules(self.grants_file, folders[name])) for name in sorted(folders))

    def keep(self, workspace: Path, rules: Sequence[str]) -> tuple[str, ...]:
        """Keeps rules for a workspace, beside those that are kept already; gives all of them.

        Raises:
            ConfigError: They cannot be kept.
        """
        with writing_own(self.grants_file):
            folders = _folders(self.grants_file)
            before = _rules(self.grants_file, folders.get(str(workspace), {"rules": []}))
            kept = tuple(dict.fromkeys((*before, *rules)))
            folders[str(workspace)] = {"rules": [*kept], "at": _now()}
            write_own(self.grants_file, {"version": _VERSION, "folders": folders})
        return kept


def _forget(path: Path, workspace: Path) -> JsonValue:
    if read_own(path) is None:
        return None
    with writing_own(path):
        folders = _folders(path)
        entry = folders.pop(str(workspace), None)
        if entry is not None:
            write_own(path, {"version": _VERSION, "folders": folders})
    return entry


def _folders(path: Path) -> dict[str, JsonValue]:
    value = read_own(path)
    if value is None:
        return {}
    if isinstance(value, dict) and value.get("version") == _VERSION and isinstance(value.get("folders"), dict):
        folders = value["folders"]
        assert isinstance(folders, dict)
        return dict(folders)
    raise _not_ours(path)


def _trusted(path: Path, folder: str, entry: JsonValue) -> Trusted:
    if isinstance(entry, dict):
        files, at, granted = entry.get("files"), entry.get("at"), _texts(entry.get("granted"))
        if isinstance(files, dict) and isinstance(at, str) and granted is not None:
            hashes = {name: text for name, text in files.items() if isinstance(text, str)}
            if len(hashes) == len(files):
                return Trusted(folder=folder, files=hashes, granted=granted, at=at)
    raise _not_ours(path)


def _rules(path: Path, entry: JsonValue) -> tuple[str, ...]:
    rules = _texts(entry.get("rules")) if isinstance(entry, dict) else None
    if rules is None:
        raise _not_ours(path)
    return rules


def _texts(value: JsonValue) -> tuple[str, ...] | None:
    if not isinstance(value, list):
        return None
    texts = tuple(each for each in value if isinstance(each, str))
    return texts if len(texts) == len(value) else None


def _not_ours(path: Path) -> ConfigError:
    return ConfigError(f"{path} cannot be used: it was not written by this version. Mend or remove it.")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
