"""Conversations of several calls: `agent(prompt, { conversation: 'name' })`.

A name belongs to the script that gives it: a nested workflow has names of its own. What counts is what the script has
been given: a turn is under way until its outcome is delivered, so that a resumed run comes to the same conversations
in whatever order agents end (CONTRACT R08).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from callsheet.engine.keys import AskedKey, next_chain
from callsheet.engine.options import MisuseError
from callsheet.model.call import AgentTask
from callsheet.model.conversation import Earlier, Follows, SpokenTurn, answer_text
from callsheet.model.dataclass import dataclass
from callsheet.model.opening import Opening
from callsheet.model.values import JsonValue


@dataclass(slots=True, kw_only=True, eq=False)
class Conversation:
    """One conversation, as far as its script knows it.

    Attributes:
        turns: Those that ended well; the first `given` of them in an earlier run.
        chain: Stands for all of them in the keys of what follows (CONTRACT R02).
        under_way: The call whose outcome the script has not been given; None for none.
        ended_before: How many agents of the run had ended, and questions been answered, when the last turn was.
    """

    name: str
    turns: tuple[SpokenTurn, ...] = ()
    given: int = 0
    chain: str = ""
    under_way: int | None = None
    ended_before: tuple[int, int] = (0, 0)

    @property
    def is_new_here(self) -> bool:
        """Whether it goes on with an earlier run and had no turn in this one."""
        return 0 < self.given == len(self.turns)

    def earlier(self, run_id: str, key: AskedKey) -> Earlier | None:
        """What a turn goes on with; None where there is nothing."""
        if not self.turns:
            return None
        last = self.turns[-1]
        return Earlier(turns=self.turns, is_same_frame=last.run_id == run_id and last.frame == key.frame)

    def follows(self, task: AgentTask, key: AskedKey) -> Follows:
        """Where a turn that begins now stands."""
        last = self.turns[-1] if self.turns else None
        return Follows(
            run_id=None if last is None else last.run_id,
            agent_id=None if last is None else last.agent_id,
            model=task.model,
            frame=key.frame,
        )


@dataclass(slots=True, kw_only=True, eq=False)
class Turn:
    """A call that is a turn, from its beginning until its outcome is delivered.

    Attributes:
        said: Its messages, as they were reported.
        opening: How its requests begin.
        spoken: What became of it, where it ended well.
        answered: How many questions had been answered when it ended; None where it ends in this attempt at the run.
    """

    conversation: Conversation
    task: AgentTask
    follows: Follows
    said: list[JsonValue] = field(default_factory=list)
    opening: Opening | None = None
    spoken: SpokenTurn | None = None
    answered: int | None = None
    value_json: str = ""

    def ended(self, value_json: str, messages: tuple[JsonValue, ...]) -> None:
        """It ended well."""
        task = self.task
        self.value_json = value_json
        self.spoken = SpokenTurn(
            run_id=task.run_id,
            agent_id=task.agent_id,
            prompt=task.prompt,
            context=task.options.context,
            answer=answer_text(value_json),
            messages=messages,
            backend=task.backend,
            model=task.model,
            frame=self.follows.frame,
            opening=self.opening,
        )


class Conversations:
    """The conversations of one run.

    Args:
        heard: By name, what was said in earlier runs in conversations that the run's own script goes on with.
    """

    def __init__(self, heard: Mapping[str, tuple[SpokenTurn, ...]] | None = None) -> None:
        self._all: dict[tuple[int, str], Conversation] = {}
        self._turns: dict[tuple[int, int], Turn] = {}
        for name, turns in (heard or {}).items():
            chain = f"{turns[-1].run_id}/{turns[-1].agent_id}" if turns else ""
            self._all[(0, name)] = Conversation(name=name, turns=turns, given=len(turns), chain=chain)

    def of(self, context: int, name: str | None) -> Conversation | None:
        """The conversation that a call is to be the next turn of; None where it names none.

        Raises:
            MisuseError: A turn of it is under way.
        """
        if name is None:
            return None
        found = self._all.get((context, name)) or Conversation(name=name)
        if found.under_way is not None:
            raise MisuseError(
                "TypeError",
                f"agent(): a turn of the conversation '{name}' is under way (call {found.under_way}): await it first, "
                "its next turn begins with what was said in it",
            )
        return found

    def begin(self, ref: tuple[int, int], conversation: Conversation, task: AgentTask, key: AskedKey) -> Turn:
        """A call was accepted, or is answered from the record: its conversation waits for it."""
        self._all[(ref[0], conversation.name)] = conversation
        conversation.under_way = task.call
        turn = self._turns[ref] = Turn(conversation=conversation, task=task, follows=conversation.follows(task, key))
        return turn

    def of_call(self, ref: tuple[int, int]) -> Turn | None:
        """The turn that a call is; None where it is none, or was delivered."""
        return self._turns.get(ref)

    def delivered(self, ref: tuple[int, int], ended: tuple[int, int]) -> None:
        """The script is given an outcome: a turn that ended well is part of its conversation from here on.

        Any other leaves the conversation where it was.

        Args:
            ref: The call.
            ended: How many agents of the run have ended, and questions were answered.
        """
        turn = self._turns.pop(ref, None)
        if turn is None:
            return
        conversation, spoken = turn.conversation, turn.spoken
        conversation.under_way = None
        if spoken is not None:
            conversation.turns = (*conversation.turns, spoken)
            conversation.chain = next_chain(turn.task.key, turn.task.occurrence, turn.value_json)
            agents, answers = ended
            conversation.ended_before = (agents, answers if turn.answered is None else turn.answered)

    def forget(self, context: int) -> None:
        """The script of a context is over."""
        for each in [each for each in self._all if each[0] == context]:
            del self._all[each]
        for ref in [ref for ref in self._turns if ref[0] == context]:
            del self._turns[ref]
