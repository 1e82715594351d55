"""The use case behind `callsheet approvals`: what runs without a question, and no longer."""

from __future__ import annotations

from pathlib import Path

from callsheet.app import places
from callsheet.app.plan import Surroundings
from callsheet.model.values import JsonValue
from callsheet.permissions.approvals import Approval, ApprovalStore


def list_approvals(around: Surroundings | None = None) -> tuple[Approval, ...]:
    """All that runs without a question, of all folders.

    Raises:
        ConfigError: The file cannot be used.
    """
    return _store(around or Surroundings()).approvals()


def revoke_approvals(
    workflow: str | None, *, folder: Path | None = None, around: Surroundings | None = None
) -> tuple[Approval, ...]:
    """Asks again from now on; gives what was forgotten.

    Args:
        workflow: Its name, with or without the slash of its command; None for every one.
        folder: Only in the workspace that holds it, which need not be there any more; None for all.
        around: The machine; None for this one.

    Raises:
        ConfigError: It cannot be changed.
    """
    here = around or Surroundings()
    store = _store(here)
    name = workflow
    if workflow is not None and workflow.startswith("/"):
        known = {each.workflow for each in store.approvals()}
        name = workflow if workflow in known else workflow[1:]
    return store.revoke(workflow=name, folder=None if folder is None else _workspace(folder, store, here))


def approval_json(approval: Approval) -> dict[str, JsonValue]:
    """As public JSON."""
    return {
        "workflow": approval.workflow,
        "folder": approval.folder,
        "sha256": approval.sha256,
        "path": approval.path,
        "terms": [*approval.terms],
        "at": approval.at,
    }


def _workspace(folder: Path, store: ApprovalStore, around: Surroundings) -> Path:
    path = (around.start / folder.expanduser()).resolve()
    if path.is_dir() and str(path) not in {each.folder for each in store.approvals()}:
        return places.workspace(path, None).root
    return path


def _store(around: Surroundings) -> ApprovalStore:
    return ApprovalStore(around.config_dir)
