"""Asking the person at the terminal whether a run is what they want, before it starts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from shutil import get_terminal_size
from typing import TYPE_CHECKING, assert_never

from callsheet.app.approving import (
    Foreseen,
    Standing,
    approved,
    calls_workflows,
    candidate,
    comes_along,
    edited,
    foresee,
    is_asked_about,
    record_refusal,
    remember,
    save,
    script_in,
    standing,
    why_not_saved,
)
from callsheet.app.granted import Grant, granted
from callsheet.cli.approval_lines import (
    PROMPT,
    Choice,
    Offered,
    Remark,
    choice_lines,
    detail_lines,
    head_lines,
    meaning,
    place_of,
    plan_lines,
    script_lines,
)
from callsheet.cli.choosing import read_choice
from callsheet.cli.outside import edit, file_name, page
from callsheet.cli.report import show_lines
from callsheet.cli.streams import say
from callsheet.cli.summary import Line
from callsheet.errors import CallsheetError, ConfigError, ScriptRefusedError, TrustRefusedError
from callsheet.groups import meanwhile
from callsheet.views.safe_text import one_line, visible

if TYPE_CHECKING:
    from callsheet.app.plan import Approved, Plan, RunOrder
    from callsheet.model.script import Script

_PATIENCE_S = 1.5
"""How long nothing is said of a rehearsal that goes on."""

AtEnd = Callable[[Callable[[], object] | None], object]


def approved_ahead(order: RunOrder, *, at_end: AtEnd) -> Approved | None:
    """What was approved of a run that is then handed to another process; None where nobody is asked about it.

    Args:
        order: What is asked for; trust in the folder was settled before.
        at_end: As `approved_plan`.

    Raises:
        TrustRefusedError: It is not wanted; nothing was started.
        CallsheetError: As `open_plan`; and the script cannot be run.
    """
    import anyio

    from callsheet.app.plan import Surroundings, open_plan

    async def asked() -> Approved | None:
        async with open_plan(order, Surroundings(interactive=True)) as plan:
            return (await approved_plan(plan, at_end=at_end))[0].approved

    return anyio.run(asked)


async def approved_plan(plan: Plan, already: Approved | None = None, *, at_end: AtEnd) -> tuple[Plan, bool]:
    """The plan as it was approved, and whether anybody was asked.

    Nobody is asked about a run that goes on from its record, whose answers are a file's, or that was approved before
    with the words that nobody need be asked again.

    Args:
        plan: Of the run.
        already: What was approved before the run came to this process.
        at_end: Takes what puts the terminal back where a signal ends the process.

    Raises:
        TrustRefusedError: It is not wanted; nothing was started.
        ScriptRefusedError: The script cannot be run.
    """
    if already is not None:
        return approved(candidate(plan, already.script), already.decision), True
    if not is_asked_about(plan):
        return plan, False
    plan = candidate(plan)
    before = standing(plan)
    if before.holds:
        return approved(plan, "remembered"), False
    return await _Conversation(plan, before, at_end).answer(), True


class _Conversation:
    """One question, until what is typed is yes or no."""

    def __init__(self, plan: Plan, before: Standing, at_end: AtEnd) -> None:
        self._plan = plan
        self._original = script_in(plan)
        self._standing = before
        self._at_end = at_end
        self._draft = self._original.text  # what the editor is given: also a text that was refused
        self._foreseen = Foreseen(told=None)
        self._granted: tuple[Grant, ...] = ()

    async def answer(self) -> Plan:
        """The plan that runs.

        Raises:
            TrustRefusedError: None is to run.
            ScriptRefusedError: The script, as it is, cannot be run.
        """
        self._show_head()
        self._show_plan(await _foreseen(self._plan))
        while True:
            match self._choice():
                case "run":
                    return approved(self._plan, "run edited" if self._is_edited else "run")
                case "always":
                    return self._always()
                case "no":
                    await record_refusal(self._plan)
                    raise TrustRefusedError("the run was not started, and nothing was touched.")
                case "view":
                    self._page(script_lines(self._script.text))
                case "details":
                    self._page(detail_lines(self._foreseen, self._granted))
                case "edit":
                    await self._edit()
                case "save":
                    self._save()
                case other:
                    assert_never(other)

    @property
    def _script(self) -> Script:
        return script_in(self._plan)

    @property
    def _is_edited(self) -> bool:
        """Whether what would run is not what the file holds."""
        return self._script.text != self._original.text

    @property
    def _offered(self) -> Offered:
        is_saved = self._is_edited and why_not_saved(self._plan) is None
        return Offered(
            why_not_always=self._standing.why_not_kept,
            saves_to=self._place if is_saved else None,
            is_edited=self._is_edited,
        )

    @property
    def _place(self) -> str:
        script, around = self._original, self._plan.around
        along = script.path is not None and comes_along(script.path)
        return place_of(script, start=str(around.start), home=str(around.home), comes_along=along)

    # --- what is shown ----------------------------------------------------------------------------------------------

    def _show_head(self) -> None:
        """Shows what is known without a rehearsal."""
        place = f"{self._place}, edited" if self._is_edited else self._place
        head = head_lines(
            self._script,
            place=place,
            folder=str(self._plan.workspace.root),
            standing=self._standing,
            width=_width(),
        )
        show_lines(list(head))

    def _show_plan(self, foreseen: Foreseen) -> None:
        """Shows what a rehearsal told, and what agents may do."""
        self._foreseen, self._granted = foreseen, granted(self._plan)
        findings = () if foreseen.told is None else foreseen.told.warnings
        nested = calls_workflows(self._script)
        show_lines(list(plan_lines(foreseen, self._granted, findings, is_nested=nested, width=_width())))

    def _page(self, lines: Iterable[str]) -> None:
        """Shows many lines, in the pager where there is one."""
        text = "\n".join(lines) + "\n"
        if not page(text, environ=self._plan.around.environ, outside=self._plan.workspace.root):
            say(text.removesuffix("\n"))

    # --- what is typed ----------------------------------------------------------------------------------------------

    def _choice(self) -> Choice:
        """Asks until what is typed is one."""
        offered = self._offered
        show_lines(list(choice_lines(self._script.meta.name, offered, width=_width())))
        while (typed := read_choice(PROMPT, at_end=self._at_end)) is not None:
            match meaning(typed, offered):
                case Remark(words=words):
                    show_lines([Line(f"  {words}", "yellow")])
                case choice:
                    return choice
        return "no"

    def _always(self) -> Plan:
        try:
            remember(self._plan)
        except ConfigError as fault:
            say(f"error: {visible(fault.message)} The run starts, and you are asked again the next time.")
            return approved(self._plan, "run")
        name = one_line(self._script.meta.name, 60)
        say(f"{name} is not asked about again here until it changes (callsheet approvals).")
        return approved(self._plan, "always")

    async def _edit(self) -> None:
        """Has the script edited, checked and rehearsed; what is refused is kept as a draft and does not run."""
        environ, root = self._plan.around.environ, self._plan.workspace.root
        try:
            text = edit(self._draft, name=file_name(self._original.path), environ=environ, outside=root)
        except CallsheetError as fault:
            say(f"error: {visible(fault.message)}")
            return
        if text == self._draft:
            hint = "" if self._draft != self._original.text else " An editor that returns at once must be told to wait."
            say(f"nothing was changed.{hint}")
            return
        self._draft = text
        try:
            plan = edited(self._plan, text)
            foreseen = await _foreseen(plan)
        except CallsheetError as fault:
            self._refused(fault)
            return
        self._plan = plan
        self._show_head()
        self._show_plan(foreseen)
        if self._is_edited:
            self._say_where_it_goes()

    def _refused(self, fault: CallsheetError) -> None:
        from callsheet.cli.findings import finding_lines

        if isinstance(fault, ScriptRefusedError):
            for finding in fault.findings:
                say(*finding_lines(finding, "the edited script"))
        else:
            say(f"error: {visible(fault.message)}")
        what = "the script as it was edited before" if self._is_edited else "the script as it was"
        say(f"what was edited cannot be run: r runs {what}. Ctrl-G goes on with your text.")

    def _say_where_it_goes(self) -> None:
        why = why_not_saved(self._plan)
        what = f"{one_line(self._place)} stays as it was" if why is None else f"it cannot be saved in place ({why})"
        remedy = ", unless you save it with w" if why is None else ""
        say(f"edited: what runs is your text, this once; {what}{remedy}. callsheet save last --as NAME keeps it after.")

    def _save(self) -> None:
        try:
            path = save(self._plan, self._original)
        except CallsheetError as fault:
            say(f"error: {visible(fault.message)}")
            return
        self._original = self._script
        say(f"saved: {one_line(str(path))}")


async def _foreseen(plan: Plan) -> Foreseen:
    """Rehearses; where that takes long it is said what the person waits for.

    Raises:
        CallsheetError: As `foresee`.
    """
    async with meanwhile(_ask_for_patience):
        return await foresee(plan)


async def _ask_for_patience() -> None:
    import anyio

    await anyio.sleep(_PATIENCE_S)
    show_lines([Line("  rehearsing it ...", "dim")])


def _width() -> int:
    return get_terminal_size().columns
