"""An agent made with the protocol's own SDK, which holds whatever it takes and sends to the schema."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import acp
from acp import schema


class Small:
    """Reads a file, asks leave for something unclear, writes a file, and says so."""

    def on_connect(self, conn: Any) -> None:
        self._client = conn

    async def initialize(self, protocol_version: int, **_: Any) -> schema.InitializeResponse:
        return schema.InitializeResponse(protocol_version=protocol_version)

    async def new_session(self, cwd: str, **_: Any) -> schema.NewSessionResponse:
        self._cwd = Path(cwd)
        return schema.NewSessionResponse(session_id="s1")

    async def prompt(self, session_id: str, prompt: Any, **_: Any) -> schema.PromptResponse:
        client = self._client
        read = await client.read_text_file(session_id=session_id, path=str(self._cwd / "a.txt"))
        call = acp.start_tool_call("t1", "something", kind="other", status="pending")
        await client.session_update(session_id=session_id, update=call)
        allow = schema.PermissionOption(option_id="yes", name="Allow", kind="allow_once")
        reject = schema.PermissionOption(option_id="no", name="Reject", kind="reject_once")
        told = await client.request_permission(
            session_id=session_id,
            tool_call=schema.ToolCallUpdate(tool_call_id="t1", title="something"),
            options=[allow, reject],
        )
        await client.write_text_file(session_id=session_id, path=str(self._cwd / "b.txt"), content=read.content)
        text = f"read {read.content}, told {told.outcome.option_id}, wrote it"
        await client.session_update(session_id=session_id, update=acp.update_agent_message_text(text))
        usage = schema.Usage(input_tokens=3, output_tokens=7, total_tokens=10)
        return schema.PromptResponse(stop_reason="end_turn", usage=usage)


agent: Any = Small()
asyncio.run(acp.run_agent(agent))
