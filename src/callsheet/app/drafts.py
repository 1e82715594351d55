"""What a run has that takes scripts as text: reads them, and tells a person what they would do (CONTRACT W03)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from callsheet.app import compose
from callsheet.app.plan import UNSET, Approved, Plan
from callsheet.model.script import Script
from callsheet.model.spending import Budget
from callsheet.ports import DraftGate

WITHIN_S = 10.0
"""How long a person waits for the rehearsal at most; what is not known by then is not told."""

_LABEL_CHARS = 10
_ARGS_CHARS = 400


class Gate(DraftGate):
    """The gate of one run: a script is rehearsed as a run of its own under the same settings, with what is left."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def read(self, text: str) -> Script:
        """The script in a text; it comes from no file.

        Raises:
            ScriptRefusedError: It is none (CONTRACT S).
        """
        return compose.script_reader()(text.encode("utf-8", "surrogatepass"), origin="-", path=None)

    async def foreseen(self, script: Script, *, args_json: str | None, left: Budget) -> Sequence[str]:
        """What it would do, a line for each thing.

        Raises:
            ScriptRefusedError: The engine or the preflight refuses it.
            UsageError: Something that it names is not there.
        """
        from callsheet.app.approving import calls_workflows, foresee
        from callsheet.app.granted import granted
        from callsheet.app.plan_words import plan_words

        plan = self._plan_of(script, args_json=args_json, left=left)
        told = await foresee(plan, within_s=WITHIN_S)
        lines = [f"{one.about:<{_LABEL_CHARS}}{one.words}" for one in plan_words(told, granted(plan))]
        if args_json is not None:
            lines.append(f"{'args':<{_LABEL_CHARS}}{_cut(args_json)}")
        if calls_workflows(script):  # which works in the rehearsal, where it is the run's own
            lines.append(f"{'nested':<{_LABEL_CHARS}}it names workflow(), which it is refused: there is one level only")
        return lines

    def _plan_of(self, script: Script, *, args_json: str | None, left: Budget) -> Plan:
        """The plan of a run of just this script."""
        plan = self._plan
        args = UNSET if args_json is None else json.loads(args_json)
        resolved = plan.settled.resolved
        settings = replace(resolved.run, budget_tokens=left.tokens, budget_usd=left.usd)
        return replace(
            plan,
            order=replace(plan.order, script=script.origin, args=args, resume=None, drafts=False),
            settled=replace(plan.settled, resolved=replace(resolved, run=settings)),
            approved=Approved(script=script),
        )


def _cut(args_json: str) -> str:
    left_out = len(args_json) - _ARGS_CHARS
    return args_json if left_out <= 0 else f"{args_json[:_ARGS_CHARS]}… ({left_out:,} more characters)"
