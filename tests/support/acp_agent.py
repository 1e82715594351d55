"""A small agent that speaks the Agent Client Protocol over its pipes, and does what its task spells out.

It is a program of its own, of the standard library alone, so that it starts fast and can be copied anywhere. What it is
to do stands in the prompt behind `DO: `, as JSON: a list of steps, each a list of a word and what belongs to it.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ids = itertools.count(1000)
state: dict[str, Any] = {"turn": 0, "cwd": ".", "cancelled": False, "can": {}}
BEHAVIOUR = sys.argv[1:]


def send(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def received() -> Iterator[dict[str, Any]]:
    for line in sys.stdin:
        yield json.loads(line)


messages = received()


def update(what: str, /, **more: Any) -> None:
    send({"method": "session/update", "params": {"sessionId": "s1", "update": {"sessionUpdate": what, **more}}})


def say(text: str) -> None:
    for piece in (text[: len(text) // 2], text[len(text) // 2 :]):
        update("agent_message_chunk", content={"type": "text", "text": piece})


def ask(method: str, **params: Any) -> dict[str, Any]:
    """Asks the client, and waits for its answer."""
    number = next(ids)
    send({"id": number, "method": method, "params": {"sessionId": "s1", **params}})
    for message in messages:
        if message.get("id") == number and "method" not in message:
            return message
        if message.get("method") == "session/cancel":
            state["cancelled"] = True
    sys.exit(9)


OPTIONS = [
    {"optionId": "always", "name": "Always", "kind": "allow_always"},
    {"optionId": "yes", "name": "Allow", "kind": "allow_once"},
    {"optionId": "no", "name": "Reject", "kind": "reject_once"},
]


def asks_leave(call: dict[str, Any], options: list[dict[str, str]]) -> str:
    whole = {"toolCallId": f"t{next(ids)}", "title": "a tool", "status": "pending", **call}
    update("tool_call", **whole)
    outcome = ask("session/request_permission", toolCall=whole, options=options)["result"]["outcome"]
    choice = str(outcome.get("optionId", outcome["outcome"]))
    status = "completed" if choice == "yes" else "failed"
    text = {"type": "content", "content": {"type": "text", "text": f"was told {choice}"}}
    update("tool_call_update", toolCallId=whole["toolCallId"], status=status, content=[text])
    return choice


def do(step: list[Any]) -> dict[str, Any] | None:
    """One step; a result of the turn where it ends it."""
    match step:
        case ["say", text]:
            say(text)
        case ["think", text]:
            update("agent_thought_chunk", content={"type": "text", "text": text})
        case ["plan", *steps]:
            entries = [{"content": each, "priority": "high", "status": "in_progress"} for each in steps]
            update("plan", entries=entries)
        case ["read", path]:
            say(json.dumps(answered("fs/read_text_file", path=path)))
        case ["write", path, content]:
            say(json.dumps(answered("fs/write_text_file", path=path, content=content)))
        case ["touch", path]:
            Path(state["cwd"], path).write_text("by itself", encoding="utf-8")
        case ["see", path]:
            try:
                say(Path(path).read_text(encoding="utf-8"))
            except OSError as error:
                say(f"cannot: {error.strerror}")
        case ["permission", call]:
            say(asks_leave(call, OPTIONS))
        case ["permission", call, options]:
            say(asks_leave(call, options))
        case ["terminal"]:
            say(json.dumps(answered("terminal/create", command="ls")))
        case ["environ"]:
            say(json.dumps(dict(os.environ)))
        case ["cost", amount, currency]:
            update("usage_update", used=10, size=100, cost={"amount": amount, "currency": currency})
        case ["child", path]:
            child = subprocess.Popen(["sleep", "1000"])
            Path(state["cwd"], path).write_text(f"{os.getpid()} {child.pid}", encoding="utf-8")
        case ["hang"]:
            wait_for_cancel()
            return {"stopReason": "cancelled"}
        case ["ignore"]:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                time.sleep(1000)
        case ["die", status]:
            sys.stderr.write("out of luck\n")
            sys.stderr.flush()
            os._exit(status)
        case ["flood"]:
            sys.stdout.write("x" * (20 * 1024 * 1024))
            sys.stdout.flush()
        case ["stop", reason]:
            return {"stopReason": reason}
        case ["usage", *counts]:
            names = ("inputTokens", "outputTokens", "cachedReadTokens", "totalTokens")
            return {"stopReason": "end_turn", "usage": dict(zip(names, [*counts, sum(counts)], strict=True))}
        case _:
            raise ValueError(step)
    return None


def answered(method: str, **params: Any) -> Any:
    message = ask(method, **params)
    return message.get("result", message.get("error"))


def wait_for_cancel() -> None:
    for message in messages:
        if message.get("method") == "session/cancel":
            if "marks" in BEHAVIOUR:
                Path(state["cwd"], "cancelled").write_text("told", encoding="utf-8")
            return


def prompted(text: str) -> dict[str, Any]:
    """A turn: the steps of the task, of which each turn has its own list, separated by `["turn"]`."""
    state["turn"] += 1
    if state["turn"] == 1:
        task = text.rpartition("DO: ")[2].splitlines()[0] if "DO: " in text else '[["say", "hello"]]'
        turns: list[list[Any]] = [[]]
        for step in json.loads(task):
            if step == ["turn"]:
                turns.append([])
            else:
                turns[-1].append(step)
        state["turns"] = turns
    if "echo" in BEHAVIOUR:
        say(text)
    for step in state["turns"][min(state["turn"], len(state["turns"])) - 1]:
        result = do(step)
        if result is not None:
            return result
    return {"stopReason": "end_turn"}


def served(message: dict[str, Any]) -> dict[str, Any]:
    match message["method"]:
        case "initialize":
            state["can"] = message["params"]["clientCapabilities"]
            return {
                "protocolVersion": 99 if "future" in BEHAVIOUR else 1,
                "agentCapabilities": {"loadSession": False},
                "agentInfo": {"name": "small", "version": "1"},
                "authMethods": [{"id": "web", "name": "Log in on the web"}],
            }
        case "session/new":
            assert message["params"]["mcpServers"] == []
            state["cwd"] = message["params"]["cwd"]
            return {"sessionId": "s1"}
        case _:
            return prompted("".join(block["text"] for block in message["params"]["prompt"]))


def main() -> None:
    sys.stdout.write("starting: this line is no message\n")
    for message in messages:
        if "id" not in message:
            continue
        if message["method"] == "session/new" and "login" in BEHAVIOUR:
            send({"id": message["id"], "error": {"code": -32000, "message": "Authentication required"}})
        else:
            send({"id": message["id"], "result": served(message)})


main()
