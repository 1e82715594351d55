"""The script that the offline agent writes: an agent for each file that a task is about, one for the end."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from callsheet.agents.offline.findings import Search, keywords, paths_in
from callsheet.authoring.briefing import TASK_BEGIN, TASK_END
from callsheet.model.values import JsonValue

MEDIA_TYPE = "text/javascript"
"""What a schema says of a field that takes a script (`contentMediaType`)."""

MOST_FILES = 12
_TASK_CHARS = 4_000
_ASKS = re.compile(
    r"\A\W*(?:please\s+)?(?:(?:write|create|make|build|use|run|start)\s+(?:me\s+|us\s+)?(?:an?\s+|the\s+)?)?"
    r"(?:workflow|ultracode)\b(?:\s+script\b)?",
    re.IGNORECASE,
)
"""How a task begins that says in so many words that a workflow is wanted: that is not what it is about."""
_MOST = re.compile(r"^- Agents: at most (\d+)", re.MULTILINE)

NOTES = """\
Written by rule, without a model: one agent for each file that the task names or whose text has its words, and one \
that puts their answers together. A model would look at what the task is about."""

_SCRIPT = """\
export const meta = {
  name: %(name)s,
  description: %(description)s,
  phases: [{ title: 'Read', detail: 'one agent for each file' }, { title: 'Merge', detail: 'one answer' }],
}

const task = args?.task ?? %(task)s
const files = args?.files ?? %(files)s
const FINDINGS = {
  type: 'object',
  properties: {
    summary: { type: 'string', description: 'What the file says about the task.' },
    quotes: { type: 'array', items: { type: 'string' }, description: 'The lines that carry it, with their numbers.' },
  },
  required: ['summary', 'quotes'],
}
%(left_out)s
const read = await parallel(
  files.map((file) => () =>
    agent(`Read ${file}, and no other file. What does it say about this task?\\n\\n${task}`, {
      label: `read ${file}`,
      phase: 'Read',
      agentType: 'Explore',
      schema: FINDINGS,
    }),
  ),
)
const found = files.map((file, n) => ({ file, ...read[n] })).filter((_, n) => read[n] !== null)
const missing = files.filter((_, n) => read[n] === null)
if (missing.length > 0) log(`no answer about: ${missing.join(', ')}`)

const answer = await agent(
  `${task}\\n\\nOthers have each read one file; below is what they found. Put it together to one answer. Name the ` +
    `file that each point comes from. Where they contradict each other, say so, which you go by, and why.` +
    `\\n\\n${JSON.stringify(found, null, 2)}`,
  { label: 'merge', phase: 'Merge', agentType: 'Explore' },
)
return { answer, found, missing }
"""


def script_field(schema: dict[str, JsonValue]) -> str | None:
    """The field of an answer that takes a script; None where none does."""
    properties = schema.get("properties")
    for name, field in properties.items() if isinstance(properties, dict) else ():
        if isinstance(field, dict) and field.get("contentMediaType") == MEDIA_TYPE:
            return name
    return None


def task_in(prompt: str) -> str:
    """The task that a script is to be written for."""
    _, found, rest = prompt.rpartition(TASK_BEGIN)
    return rest.partition(TASK_END)[0].strip() if found else prompt


def script_value(field: str, search: Search, prompt: str) -> JsonValue:
    """The answer with a script for the task.

    Args:
        field: Takes the script.
        search: For the task's words, over all files.
        prompt: All that was said, with the number of agents that the script may have.
    """
    return {field: script_text(search, prompt), "notes": NOTES}


def script_text(search: Search, prompt: str) -> str:
    """A script for the task; as `script_value`."""
    task = search.prompt[:_TASK_CHARS]
    most = int(found[1]) - 1 if (found := _MOST.search(prompt)) else MOST_FILES
    files = _files(search)
    taken, left_out = files[: min(most, MOST_FILES)], len(files) - min(most, MOST_FILES, len(files))
    said = f"{left_out} more files were left out: " + ", ".join(files[len(taken) :][:20])
    return _SCRIPT % {
        "name": _literal(_name(task)),
        "description": _literal(" ".join(task.split())[:120]),
        "task": _literal(task),
        "files": json.dumps(taken, ensure_ascii=True, indent=2),
        "left_out": f"\nlog({_literal(said)})\n" if left_out > 0 else "",
    }


def _files(search: Search) -> list[str]:
    """What the task names, or, where it names none, what has its words."""
    named = [path for path in paths_in(search.prompt) if path in search.files]
    words = [word.strip("`'\"(),;:!?").removeprefix("./") for word in search.prompt.split()]
    for word in words:
        if "*" in word:
            named += [path for path in search.files if fnmatchcase(path, word) or fnmatchcase(path, f"**/{word}")]
        elif word.endswith("/"):
            named += [path for path in search.files if path.startswith(word)]
    if named:
        return list(dict.fromkeys(named))
    matched = {finding.path for finding in search.matches}
    ranked = search.ranked_files()
    return [path for path in ranked if path in matched] or ranked[:MOST_FILES] or ["README.md"]


def _name(task: str) -> str:
    words: Sequence[str] = keywords(_ASKS.sub("", task))[:4] or ("task",)
    return "-".join(words).replace("_", "-")


def _literal(text: str) -> str:
    """A JavaScript string."""
    return json.dumps(text, ensure_ascii=True)
