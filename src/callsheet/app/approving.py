"""What a person is told before a run that they start at a terminal, what they said before, and what becomes of a yes.

What is approved is a text: the script that was shown is the one that runs, whatever its file holds by then.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from callsheet.app.plan import Approved, Decision, Plan
from callsheet.app.reading import nested_scripts, script_of
from callsheet.errors import CallsheetError, ConfigError, ScriptRefusedError, UsageError
from callsheet.model.dataclass import dataclass
from callsheet.model.records import ApprovalRow
from callsheet.permissions.approvals import Approval, ApprovalStore

if TYPE_CHECKING:
    from callsheet.app.rehearsal_report import Told
    from callsheet.app.rehearsal_stage import Performance
    from callsheet.model.rehearsal import Rehearsal
    from callsheet.model.script import Script

ENDS_WITHIN_S = 2.0
"""How long the script may take in the rehearsal; what it has called by then is told."""

WITHIN_S = 10.0
"""How long a person waits for all of the rehearsal at most; what is not known by then is not told."""

SECOND_PASS_WITHIN_S = 1.0
"""The rehearsal is played with answers that find nothing too, where the first pass took less than this."""

_UNNAMED = "it runs workflows that its text does not name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a person said before of a workflow of this name in this folder.

    Attributes:
        before: What is kept; None for nothing.
        changes: What is other than when they said it.
        why_not_kept: Why no yes can be remembered; None where one can.
    """

    before: Approval | None = None
    changes: tuple[str, ...] = ()
    why_not_kept: str | None = None

    @property
    def holds(self) -> bool:
        """Whether nobody need be asked."""
        return self.before is not None and not self.changes


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """What the rehearsal told.

    Attributes:
        told: None where it told nothing.
        fault: Why it is not told, or not whole; None where all of it is.
    """

    told: Rehearsal | None
    fault: str | None = None


def is_asked_about(plan: Plan) -> bool:
    """Whether a run is for a person to approve.

    Not one that goes on from its record, or whose answers are a file's; nor one that does a task: they approve what it
    starts.
    """
    return plan.order.resume is None and plan.backend.name != "scripted" and not plan.order.drafts


def candidate(plan: Plan, script: Script | None = None) -> Plan:
    """The plan, with the script read that it would run; or with another text for it.

    Raises:
        UsageError: No such script.
        ScriptRefusedError: It is no workflow (CONTRACT S).
    """
    return replace(plan, approved=Approved(script=script or script_of(plan)))


def script_in(plan: Plan) -> Script:
    """The script of a `candidate`."""
    assert plan.approved is not None
    return plan.approved.script


def edited(plan: Plan, text: str) -> Plan:
    """The candidate with another text; paths in it are relative to where it came from.

    Raises:
        ScriptRefusedError: It is no workflow (CONTRACT S).
    """
    from callsheet.app import compose

    before = script_in(plan)
    data = text.encode("utf-8", "surrogatepass")
    return candidate(plan, compose.script_reader()(data, origin=before.origin, path=before.path))


def calls_workflows(script: Script) -> bool:
    """Whether a script calls others: they are no part of its hash."""
    from callsheet.app import compose

    mentions = compose.workflow_mentions(script)
    return "workflow" in script.body if mentions is None else mentions > 0


def standing(plan: Plan) -> Standing:
    """What was said before of a `candidate`. A file that cannot be used is no yes."""
    script = script_in(plan)
    if not plan.site.is_own:
        return Standing(why_not_kept=f"{plan.site.config_dir} lies in the workspace: set CALLSHEET_CONFIG_DIR")
    terms = terms_of(plan)
    if terms is None:
        return Standing(why_not_kept=_UNNAMED)
    try:
        before = ApprovalStore(plan.site.config_dir).approval(plan.workspace.root, script.meta.name)
    except ConfigError as fault:
        return Standing(why_not_kept=fault.message)
    if before is None:
        return Standing()
    return Standing(before=before, changes=before.changes(sha256=script.sha256, terms=terms))


def terms_of(plan: Plan) -> tuple[str, ...] | None:
    """Under what a `candidate` runs, as far as a change needs another yes: who answers, what is accepted, what it runs.

    None where it runs workflows that its text does not name.
    """
    service = "" if plan.settings.service == "anthropic" else f" at {plan.settings.service}"
    terms = [f"agents by {plan.backend.name}{service}", f"mode {plan.permissions.mode.value}"]
    terms += ["unconfined"] if plan.unconfined else []
    nested = nested_scripts(plan, script_in(plan))
    if nested is None:
        return None
    return (*terms, *(f"workflow {name} {nested[name].sha256[:32]}" for name in sorted(nested)))


# --- the rehearsal ----------------------------------------------------------------------------------------------------


async def foresee(plan: Plan, *, within_s: float = WITHIN_S) -> Foreseen:
    """Rehearses a `candidate`, within seconds. Touches nothing.

    Raises:
        ScriptRefusedError: The script would not run: `preflight` or the engine refuses it.
        UsageError: As a run would: something that it names is not there.
    """
    told: Told | None = None
    report: Rehearsal | None = None
    try:
        with anyio.move_on_after(within_s):
            told = await _passes(plan)
            report = await to_thread.run_sync(_report, told, abandon_on_cancel=True)
    except (ScriptRefusedError, UsageError):
        raise
    except (CallsheetError, OSError) as fault:
        return Foreseen(told=None, fault=f"the rehearsal failed: {fault}")
    if report is None or told is None:
        return Foreseen(told=None, fault=f"the rehearsal did not come to an end within {within_s:g} seconds")
    if not told.first.is_whole:
        return Foreseen(told=report, fault="the script had not come to its end when the rehearsal was ended")
    return Foreseen(told=report)


async def _passes(plan: Plan) -> Told:
    """One pass, and where answers decide about agents and there is time a second one with answers that find nothing."""
    from callsheet.app.rehearsal import one_pass, prepare
    from callsheet.app.rehearsal_cast import Answers
    from callsheet.app.rehearsal_report import Told

    prepared = await prepare(plan)
    answers = Answers()
    began_s = time.monotonic()
    first = await one_pass(prepared, answers, within_s=ENDS_WITHIN_S)
    told = Told(prepared=prepared, answers=answers, first=first)
    is_quick = time.monotonic() - began_s < SECOND_PASS_WITHIN_S
    if told.is_exact or not first.is_whole or not is_quick:
        return told
    other: Performance = await one_pass(prepared, Answers(), is_dry=True, within_s=SECOND_PASS_WITHIN_S)
    return replace(told, others=(other,)) if other.is_whole else told


def _report(told: Told) -> Rehearsal:
    from callsheet.app.rehearsal_report import report

    return report(told)


# --- what becomes of the answer ---------------------------------------------------------------------------------------


def approved(plan: Plan, decision: Decision) -> Plan:
    """The plan of a `candidate` that runs."""
    script = script_in(plan)
    notes = plan.notes
    if decision == "run edited":
        notes = (*notes, f"the script was edited before the run: what runs is not what {script.origin} holds.")
    return replace(plan, approved=Approved(script=script, decision=decision), notes=notes)


def remember(plan: Plan) -> Approval:
    """Keeps a yes to a `candidate`: nobody is asked about just this script by this name in this folder.

    Raises:
        ConfigError: It cannot be kept.
    """
    script, terms = script_in(plan), terms_of(plan)
    if not plan.site.is_own:
        raise ConfigError(f"{plan.site.config_dir} lies in the workspace: nothing is kept there.")
    if terms is None:
        raise ConfigError(f"{_UNNAMED}: nothing is kept.")
    return ApprovalStore(plan.site.config_dir).approve(
        plan.workspace.root, script.meta.name, sha256=script.sha256, terms=terms, path=script.path
    )


def recorded(answer: Approved) -> ApprovalRow:
    """The row of the record that says what was decided (FORMATS 4)."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    script = answer.script
    return ApprovalRow(workflow=script.meta.name, path=script.path, decision=answer.decision, at=at)


async def record_refusal(plan: Plan) -> None:
    """Puts a no on record, where there is one already: a run that is not wanted makes none. Faults are not said."""
    from callsheet.app import places

    record = places.record_to_read(plan.workspace.root, plan.resolved.store, plan.around.environ)
    if not record.is_file():
        return
    try:
        async with places.open_record(record) as store:
            await store.write((recorded(Approved(script=script_in(plan), decision="no")),), durable=True)
    except (CallsheetError, OSError):
        return


# --- writing an edited script back ------------------------------------------------------------------------------------


def why_not_saved(plan: Plan) -> str | None:
    """Why an edited script cannot be put in the place of its file; None where it can."""
    path = script_in(plan).path
    if path is None:
        return "it came from no file"
    if plan.order.permissions.config_from is not None:
        return f"it is that of {plan.order.permissions.config_from}, not the file here"
    if comes_along(path):
        return "it comes with Callsheet"
    return None


def comes_along(path: str) -> bool:
    """Whether a script is one of those that come with Callsheet."""
    import callsheet

    return Path(path).resolve().is_relative_to(Path(callsheet.__file__).resolve().parent)


def save(plan: Plan, original: Script) -> Path:
    """Puts the edited script of a `candidate` in the place of its file, which must still hold what it was made of.

    Raises:
        UsageError: It cannot be: the file changed meanwhile, is a link, or cannot be written.
    """
    from callsheet.workspace.errors import WorkspacePathError
    from callsheet.workspace.files import read_bytes_beneath, write_bytes_beneath

    script = script_in(plan)
    why = why_not_saved(plan)
    if script.path is None or why is not None:
        raise UsageError(f"nothing was saved: {why}.")
    path = Path(script.path)
    try:
        if hashlib.sha256(read_bytes_beneath(path.parent, path.name)).hexdigest() != original.sha256:
            raise UsageError(f"nothing was saved: {path} was changed by somebody else meanwhile.")
        write_bytes_beneath(path.parent, path.name, script.text.encode("utf-8", "surrogatepass"))
    except WorkspacePathError as fault:
        raise UsageError(f"nothing was saved: {fault}") from None
    return path
