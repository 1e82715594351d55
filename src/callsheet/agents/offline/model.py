"""A deterministic stand-in for a model: a pure function from a Messages request to the blocks of a reply.

It searches the workspace for the words of its task, reads the files that hold most of them, and answers with what
stands there. Two turns of tools, then the answer.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from callsheet.agents.offline.author import script_field, script_value, task_in
from callsheet.agents.offline.doing import has_data, step_value, takes_steps
from callsheet.agents.offline.fill import fill
from callsheet.agents.offline.findings import (
    Finding,
    Search,
    best_first,
    interleaved,
    keywords,
    parse_listing,
    parse_matches,
    parse_text,
)
from callsheet.agents.prompt import ANSWER_TOOL, CUT_OFF, FULL_SCHEMA_INTRO, GO_ON, NUDGE, PERSON_INTRO, RESUMED
from callsheet.agents.tools.fence import unfenced
from callsheet.answers.schema import AnswerSchema
from callsheet.answers.synthetic import synthetic_value
from callsheet.authoring.briefing import TASK_BEGIN
from callsheet.authoring.talking import person_said
from callsheet.model.dataclass import dataclass
from callsheet.model.values import JsonValue

Block: TypeAlias = dict[str, Any]

DISCLAIMER = "No model is behind this answer: the offline agent searched the workspace by itself."
_NO_TASK = (CUT_OFF, GO_ON, NUDGE, PERSON_INTRO, RESUMED)
"""What a user's message begins with that goes on with a task."""

READ_LINES = 200
READ_FILES = 3
SHOWN_FINDINGS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """A tool call of an earlier turn, with what came back."""

    tool: str
    input: dict[str, Any]
    text: str


def reply(body: dict[str, Any], *, asked: int) -> list[Block]:
    """The blocks of the next assistant message.

    Args:
        body: A request of the Messages API.
        asked: How many synthetic answers there were before for the same label stem and schema.
    """
    tools = {tool["name"]: tool for tool in body.get("tools", [])}
    schema = _answer_schema(tools[ANSWER_TOOL]) if ANSWER_TOOL in tools else {}
    field, is_orchestrator = script_field(schema), takes_steps(schema)
    messages = _of_this_turn(body["messages"])
    asked_now = _text(messages[0]["content"])
    spoken = (_text(message["content"]) for message in reversed(body["messages"]))
    said = next((text for text in spoken if TASK_BEGIN in text), asked_now)
    prompt = task_in(said) if field is not None or is_orchestrator else person_said(asked_now) or asked_now
    root = _workspace(body)
    results = list(_results(messages))
    turns = sum(message["role"] == "assistant" for message in messages)
    search = _search(prompt, root, results)
    has_files = field is not None or is_orchestrator
    calls: list[tuple[str, dict[str, Any]]] = []
    if turns == 0 and not (is_orchestrator and has_data(asked_now)):
        looks = _first_looks(prompt, all_files=has_files)
        calls = [(name, arguments) for name, arguments in looks if name in tools]
    elif turns == 1 and not has_files and "read" in tools and any(each.tool in ("glob", "grep") for each in results):
        chosen = search.ranked_files()[:READ_FILES]
        calls = [("read", {"file_path": f"{root}/{path}", "view_range": [1, READ_LINES]}) for path in chosen]
    if calls:
        seed = hashlib.sha256(f"{turns}\0{prompt}".encode()).hexdigest()[:12]
        return [_tool_use(f"toolu_{seed}_{n}", name, arguments) for n, (name, arguments) in enumerate(calls)]
    findings = _findings(search, root, results)
    if ANSWER_TOOL in tools:
        seed = hashlib.sha256(f"{turns}\0{prompt}".encode()).hexdigest()[:12]
        if is_orchestrator:
            value = step_value(search, asked=asked_now, said=said)
        elif field is not None:
            value = script_value(field, search, said)
        else:
            value = _value(schema, findings, asked)
        return [_tool_use(f"toolu_{seed}_answer", ANSWER_TOOL, value)]
    return [{"type": "text", "text": _answer(search, findings, _told(messages))}]


def _of_this_turn(messages: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """The messages since the last task: before it may stand earlier turns, each with an answer at its end."""
    begins, is_answered = 0, False
    for n, message in enumerate(messages):
        blocks = _blocks(message)
        if message["role"] == "assistant":
            calls = [block for block in blocks if block["type"] == "tool_use"]
            is_answered = not calls or any(block["name"] == ANSWER_TOOL for block in calls)
        elif message["role"] == "user" and is_answered:
            texts = [block["text"] for block in blocks if block["type"] == "text"]
            if texts and not texts[0].startswith(_NO_TASK):
                begins, is_answered = n, False
    return messages[begins:]


def _first_looks(prompt: str, *, all_files: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    words = keywords(prompt)
    forms = [form for word in words for form in dict.fromkeys((word, word.capitalize(), word.upper()))]
    yield "glob", {"pattern": f"{{*,**/*{{{','.join(forms)}}}*}}" if words and not all_files else "**/*"}
    if words:
        yield "grep", {"pattern": rf"(?i)\b({'|'.join(map(re.escape, words))})"}


def _tool_use(id: str, name: str, input: JsonValue) -> Block:
    return {"type": "tool_use", "id": id, "name": name, "input": input}


def _search(prompt: str, root: str, results: Sequence[ToolResult]) -> Search:
    return Search(
        prompt=prompt,
        files=tuple(path for result in results if result.tool == "glob" for path in parse_listing(result.text, root)),
        matches=tuple(line for result in results if result.tool == "grep" for line in parse_matches(result.text, root)),
    )


def _findings(search: Search, root: str, results: Sequence[ToolResult]) -> list[Finding]:
    """What is worth quoting: first from the files read, then from others that matched; each line once."""
    words = keywords(search.prompt)
    read: list[Finding] = []
    for result in results:
        if result.tool == "read":
            path = str(result.input["file_path"]).removeprefix(f"{root}/")
            read += parse_text(path, result.text, words)
    ranks = {path: rank for rank, path in enumerate(search.ranked_files())}
    others = [finding for finding in best_first(search.matches, words) if finding.path in ranks]
    others.sort(key=lambda finding: ranks[finding.path])
    return list(dict.fromkeys([*interleaved(read), *interleaved(others)]))


def _answer(search: Search, findings: Sequence[Finding], told: Sequence[str]) -> str:
    task = next((line.strip() for line in search.prompt.split("\n") if line.strip()), "")[:120]
    words = ", ".join(keywords(search.prompt)) or "no word of the task"
    holding = len({finding.path for finding in search.matches})
    seen = f"Searched for: {words}. {holding} files hold such words, {len(search.files)} were listed."
    quotes = [f"- {finding.path}:{finding.line}: `{finding.text}`" for finding in findings[:SHOWN_FINDINGS]]
    heard = [f"Told meanwhile: {' '.join(message.split())[:120]}" for message in told]
    return "\n".join([DISCLAIMER, "", f"Task: {task}", *heard, seen, "", *(quotes or ["Found nothing to quote."])])


def _told(messages: Sequence[dict[str, Any]]) -> list[str]:
    """What people sent while the agent was at work."""
    texts = (_text(message["content"]) for message in messages[1:] if message["role"] == "user")
    return [text.removeprefix(PERSON_INTRO) for text in texts if text.startswith(PERSON_INTRO)]


def _answer_schema(tool: dict[str, Any]) -> dict[str, JsonValue]:
    """The schema of the answer, also where the tool could show it only in its description."""
    full = tool["description"].partition(FULL_SCHEMA_INTRO)[2]
    schema: dict[str, JsonValue] = json.loads(full) if full else tool["input_schema"]
    return schema


def _value(schema: dict[str, JsonValue], findings: Sequence[Finding], asked: int) -> JsonValue:
    """A value in the schema's shape, with findings in it where they fit."""
    plain = synthetic_value(schema, asked=asked)
    filled = fill(plain, schema, findings)
    return filled if AnswerSchema.compile(schema).accepts(filled) else plain


def _workspace(body: dict[str, Any]) -> str:
    found = re.search(r"^Workspace: (.+)$", _text(body.get("system", "")), re.MULTILINE)
    return found[1] if found else ""


def _results(messages: Sequence[dict[str, Any]]) -> Iterator[ToolResult]:
    """Every tool call that worked, in order."""
    calls = {block["id"]: block for message in messages for block in _blocks(message) if block["type"] == "tool_use"}
    for message in messages:
        for block in _blocks(message):
            if block["type"] == "tool_result" and not block.get("is_error"):
                call = calls[block["tool_use_id"]]
                yield ToolResult(tool=call["name"], input=call["input"], text=unfenced(_text(block.get("content", ""))))


def _blocks(message: dict[str, Any]) -> list[Block]:
    content = message["content"]
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


def _text(content: str | list[Block]) -> str:
    return content if isinstance(content, str) else "\n".join(b["text"] for b in content if b["type"] == "text")


def token_count(value: object) -> int:
    """An estimate that is the same each time: a quarter of the characters of the JSON text."""
    return max(1, len(json.dumps(value, ensure_ascii=False)) // 4)
