"""Before a session starts a saved workflow: whether the person is asked, what they see, what their answer does."""

from __future__ import annotations

from anyio import to_thread

from callsheet.app.approving import (
    approved,
    candidate,
    foresee,
    is_asked_about,
    record_refusal,
    remember,
    script_in,
    standing,
)
from callsheet.app.granted import granted
from callsheet.app.plan import Plan
from callsheet.app.plan_words import plan_words
from callsheet.app.tool_order import ApprovedScript, LaunchOrder
from callsheet.errors import ConfigError
from callsheet.model.approval import PersonsVerdict, ScriptShown
from callsheet.model.dataclass import dataclass
from callsheet.model.events import ApprovalAsked

MOST_TEXT_CHARS = 64 * 1024
_ABOUT_CHARS = 10
_TOOL = "workflow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A saved workflow that a person is asked about, with the script as they are shown it: that is what runs.

    Attributes:
        why_not_kept: Why no yes can be remembered; None where one can.
    """

    plan: Plan
    shown: ScriptShown
    reason: str
    why_not_kept: str | None

    def asked(self, question_id: str) -> ApprovalAsked:
        """The question: `once` runs it, `project` also from then on unasked, as long as it is what it is."""
        shown = self.shown
        return ApprovalAsked(
            id=question_id,
            tool=_TOOL,
            input="\n".join((f"{shown.name}: {shown.description}", *shown.plan)),
            reason=self.reason,
            rules=(),
            agents=0,
            agent_ids=(),
            until=None,
            kind="script",
            script=shown,
        )

    async def decided(self, verdict: PersonsVerdict, launch: LaunchOrder) -> tuple[LaunchOrder | None, str | None]:
        """The order with the script that was shown, None after a no; and what there is to say besides."""
        if verdict == "deny":
            await record_refusal(self.plan)
            return None, None
        note = None
        if verdict == "project":
            try:
                await to_thread.run_sync(remember, self.plan)
            except ConfigError as fault:
                verdict, note = "once", f"{fault.message} You are asked again the next time."
        return _with(launch, approved(self.plan, "always" if verdict == "project" else "run")), note


async def proposed(plan: Plan, launch: LaunchOrder) -> tuple[LaunchOrder, Proposal | None]:
    """What is to be asked before a run is started; None where the order can go as it is given back.

    Raises:
        ScriptRefusedError: The script cannot be run.
        UsageError: Something that it names is not there.
    """
    if not is_asked_about(plan):
        return launch, None
    plan = await to_thread.run_sync(candidate, plan)
    before = await to_thread.run_sync(standing, plan)
    if before.holds:
        return _with(launch, approved(plan, "remembered")), None
    foreseen = await foresee(plan)
    lines = [f"{one.about:<{_ABOUT_CHARS}}{one.words}" for one in plan_words(foreseen, granted(plan))]
    script = script_in(plan)
    shown = ScriptShown(
        name=script.meta.name,
        description=script.meta.description,
        plan=tuple(lines),
        text=script.text[:MOST_TEXT_CHARS],
        sha256=script.sha256,
        left_out=max(0, len(script.text) - MOST_TEXT_CHARS),
    )
    changes = f" since you said yes to it: {', '.join(before.changes)}" if before.changes else ""
    reason = f"it is other than it was{changes}" if changes else f"you have not run it here before ({script.origin})"
    return launch, Proposal(plan=plan, shown=shown, reason=reason, why_not_kept=before.why_not_kept)


def _with(launch: LaunchOrder, plan: Plan) -> LaunchOrder:
    """The order with the script that was approved: it runs, whatever its file holds by then."""
    assert plan.approved is not None
    script = plan.approved.script
    decided = ApprovedScript(text=script.text, origin=script.origin, path=script.path, decision=plan.approved.decision)
    return launch.model_copy(update={"approved": decided})
