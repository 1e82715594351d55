"""What a person trusts and allowed always, as it is kept in the user's own folder."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from callsheet.errors import ConfigError
from callsheet.permissions.trust import TrustStore

FILES = {".claude/settings.json": "ab12"}


def test_nothing_is_trusted_where_nothing_was_kept_and_nothing_is_made(tmp_path: Path) -> None:
    store = TrustStore(tmp_path / "config")

    assert (store.trusted(), store.all_kept(), store.kept(tmp_path)) == ((), (), None)
    assert not (tmp_path / "config").exists()


def test_trust_is_kept_by_folder_with_what_was_granted_and_only_its_user_may_read_it(tmp_path: Path) -> None:
    store = TrustStore(tmp_path / "config")

    store.trust(tmp_path / "work", files=FILES, granted=["let agents use Bash"])

    found = TrustStore(tmp_path / "config").trusted_folder(tmp_path / "work")
    assert found is not None
    assert (dict(found.files), found.granted) == (FILES, ("let agents use Bash",))
    assert TrustStore(tmp_path / "config").trusted_folder(tmp_path) is None
    assert stat.S_IMODE(store.trust_file.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "config").stat().st_mode) == 0o700


def test_revoking_forgets_trust_and_rules_of_that_folder_alone(tmp_path: Path) -> None:
    store = TrustStore(tmp_path)
    for name in ("a", "b"):
        store.trust(tmp_path / name, files=FILES, granted=["x"])
        store.keep(tmp_path / name, ["Bash(npm test:*)"])

    assert store.revoke(tmp_path / "a") == (True, 1)
    assert store.revoke(tmp_path / "a") == (False, 0)

    assert [each.folder for each in store.trusted()] == [str(tmp_path / "b")]
    assert [folder for folder, _ in store.all_kept()] == [str(tmp_path / "b")]


def test_rules_that_are_kept_come_together_once_each(tmp_path: Path) -> None:
    store = TrustStore(tmp_path)
    store.keep(tmp_path, ["WebSearch", "Bash(make)"])

    assert store.keep(tmp_path, ["Bash(make)", "Bash(ls)"]) == ("WebSearch", "Bash(make)", "Bash(ls)")
    kept = store.kept(tmp_path)
    assert kept is not None
    assert kept.name.startswith(str(tmp_path / "grants.json"))


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "3", '{"version": 2, "folders": {}}', '{"version": 1, "folders": {"/x": 3}}', "[" * 100_000],
)
def test_a_file_that_is_not_ours_is_named_and_nothing_in_it_believed(tmp_path: Path, text: str) -> None:
    (tmp_path / "trust.json").write_text(text, encoding="utf-8")

    with pytest.raises(ConfigError, match=r"trust\.json cannot be used"):
        TrustStore(tmp_path).trusted()


def test_a_file_that_others_may_write_or_that_is_a_link_is_not_believed(tmp_path: Path) -> None:
    store = TrustStore(tmp_path)
    store.trust(tmp_path, files=FILES, granted=["x"])
    store.trust_file.chmod(0o666)
    with pytest.raises(ConfigError, match="others may write it"):
        store.trusted()
    store.trust_file.rename(tmp_path / "real")
    store.trust_file.symlink_to(tmp_path / "real")
    with pytest.raises(ConfigError, match=r"trust\.json cannot be used"):
        store.trusted()


def test_a_folder_whose_name_is_no_text_is_kept_too(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))

    TrustStore(tmp_path).trust(folder, files={}, granted=["x"])

    assert TrustStore(tmp_path).trusted_folder(folder) is not None


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from callsheet.permissions.trust import TrustStore\n"
        "for n in range(10): TrustStore(Path(sys.argv[1])).keep(Path('/w'), [f'Bash(x{sys.argv[2]}{n})'])"
    )
    started = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(each)]) for each in range(4)]

    assert [process.wait(120) for process in started] == [0, 0, 0, 0]

    kept = TrustStore(tmp_path).kept(Path("/w"))
    assert kept is not None
    assert len(kept.rules) == 40
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grants.json", "grants.json.lock"]
    assert json.loads((tmp_path / "grants.json").read_text(encoding="utf-8"))["version"] == 1
