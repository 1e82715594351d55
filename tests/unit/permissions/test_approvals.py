"""What a person lets run without being asked again, as it is kept in the user's own folder."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from callsheet.errors import ConfigError
from callsheet.permissions.approvals import Approval, ApprovalStore

TERMS = ("agents by offline", "mode acceptEdits")


@pytest.fixture
def store(tmp_path: Path) -> ApprovalStore:
    return ApprovalStore(tmp_path / "config")


def _keep(store: ApprovalStore, folder: Path, name: str = "review", **changes: object) -> Approval:
    given = {"sha256": "ab" * 32, "terms": TERMS, "path": None} | changes
    return store.approve(folder, name, **given)  # type: ignore[arg-type]


def test_nothing_is_kept_at_first_and_nothing_is_made(store: ApprovalStore, tmp_path: Path) -> None:
    assert (store.approvals(), store.approval(tmp_path, "review"), store.revoke()) == ((), None, ())
    assert not store.file.parent.exists()


def test_a_yes_is_kept_by_folder_and_name_and_only_its_user_may_read_it(store: ApprovalStore, tmp_path: Path) -> None:
    kept = _keep(store, tmp_path)

    assert ApprovalStore(store.file.parent).approval(tmp_path, "review") == kept
    assert store.approval(tmp_path, "other") is None
    assert store.approval(tmp_path / "elsewhere", "review") is None
    assert stat.S_IMODE(store.file.stat().st_mode) == 0o600


def test_it_holds_for_just_that_script_under_no_terms_that_were_not_seen(store: ApprovalStore, tmp_path: Path) -> None:
    kept = _keep(store, tmp_path)

    assert kept.changes(sha256=kept.sha256, terms=TERMS) == ()
    assert kept.changes(sha256=kept.sha256, terms=TERMS[:1]) == ()
    assert kept.changes(sha256=kept.sha256, terms=(*TERMS, "unconfined")) == ("new: unconfined",)
    assert kept.changes(sha256="cd" * 32, terms=TERMS) == ("the script changed",)


def test_terms_add_up_for_one_script_and_not_for_another(store: ApprovalStore, tmp_path: Path) -> None:
    _keep(store, tmp_path)

    assert _keep(store, tmp_path, terms=("agents by anthropic",)).terms == (*TERMS, "agents by anthropic")
    assert _keep(store, tmp_path, sha256="cd" * 32, terms=("agents by anthropic",)).terms == ("agents by anthropic",)


def test_revoking_forgets_what_is_named_alone(store: ApprovalStore, tmp_path: Path) -> None:
    for name in ("review", "audit"):
        for folder in ("a", "b"):
            _keep(store, tmp_path / folder, name)

    gone = store.revoke(workflow="review", folder=tmp_path / "a")
    assert [(each.workflow, each.folder) for each in gone] == [("review", str(tmp_path / "a"))]
    assert len(store.revoke(workflow="audit")) == 2
    assert [each.folder for each in store.approvals()] == [str(tmp_path / "b")]
    assert len(store.revoke()) == 1
    assert store.approvals() == ()


@pytest.mark.parametrize(
    "text",
    ["[]", '{"version": 2, "folders": {}}', '{"version": 1, "folders": {"/f": {"n": {"sha256": 1}}}}', "{"],
)
def test_a_file_that_is_not_ours_is_no_yes(store: ApprovalStore, text: str) -> None:
    store.file.parent.mkdir()
    store.file.write_text(text, encoding="utf-8")
    store.file.chmod(0o600)

    with pytest.raises(ConfigError, match="Mend or remove it"):
        store.approvals()
