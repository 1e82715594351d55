"""What a tool of a server gave back, as content for a model; all of it bounded."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, assert_never

import mcp_types as types

from callsheet.agents.mcp.tools import readable
from callsheet.agents.tools.names import ToolContent, ToolFailure

TEXT_LIMIT_CHARS = 100_000
IMAGE_LIMIT_BYTES = 5 * 1024 * 1024 // 4 * 3
IMAGES_LIMIT = 20
BLOCKS_LIMIT = 1000

_SIGNS = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/webp": (b"RIFF",),
}
"""How the images that models see begin. One of another kind than it says fails every later request of the agent."""


def content_of(tool: str, result: types.CallToolResult) -> ToolContent:
    """The result as content.

    Raises:
        ToolFailure: The tool says that it failed, and what of.
    """
    collector = _Collector()
    for block in result.content[:BLOCKS_LIMIT]:
        collector.take(block)
    if not result.content and result.structured_content is not None:
        collector.text(json.dumps(result.structured_content, ensure_ascii=False, indent=1))
    if len(result.content) > BLOCKS_LIMIT:
        collector.text(f"[{len(result.content) - BLOCKS_LIMIT} more parts are left out]")
    if result.is_error:
        said = "\n".join(block["text"] for block in collector.blocks if block["type"] == "text")
        raise ToolFailure(f"{tool}: {said or 'it failed and does not say why'}")
    if all(block["type"] == "text" for block in collector.blocks):
        return "\n".join(block["text"] for block in collector.blocks) or "[it gave nothing back]"
    return collector.blocks


class _Collector:
    """Gathers blocks up to the limits; what does not fit is said in its place, once for text."""

    def __init__(self) -> None:
        self.blocks: list[dict[str, Any]] = []
        self._room_chars = TEXT_LIMIT_CHARS
        self._images = 0

    def take(self, block: types.ContentBlock) -> None:
        """Takes one block."""
        match block:
            case types.TextContent():
                self.text(block.text)
            case types.ImageContent():
                self._image(block.data, block.mime_type)
            case types.AudioContent():
                self.text(f"[audio of type {block.mime_type[:80]}, which is not shown]")
            case types.ResourceLink():
                about = f": {block.description}" if block.description else ""
                self.text(f"[resource {block.uri} ({block.title or block.name}){about}]")
            case types.EmbeddedResource():
                self._resource(block.resource)
            case _:
                assert_never(block)

    def text(self, text: str) -> None:
        """Takes text as far as there is room."""
        if self._room_chars <= 0 or not text:
            return
        said = readable(text[: self._room_chars])
        if len(text) > self._room_chars:
            said += f"\n[cut after {TEXT_LIMIT_CHARS} characters; ask for less at a time]"
        self._room_chars -= len(text)
        self.blocks.append({"type": "text", "text": said})

    def _resource(self, resource: types.TextResourceContents | types.BlobResourceContents) -> None:
        match resource:
            case types.TextResourceContents():
                self.text(f"[resource {resource.uri}]\n{resource.text}")
            case types.BlobResourceContents():
                if (resource.mime_type or "") in _SIGNS:
                    self._image(resource.blob, resource.mime_type or "")
                else:
                    kind = (resource.mime_type or "no named type")[:80]
                    self.text(f"[resource {resource.uri} of {kind}, which is not shown]")
            case _:
                assert_never(resource)

    def _image(self, data: str, media_type: str) -> None:
        fault = self._image_fault(data, media_type)
        if fault is not None:
            self.text(f"[an image that is not shown: {fault}]")
            return
        self._images += 1
        source = {"type": "base64", "media_type": media_type, "data": data}
        self.blocks.append({"type": "image", "source": source})

    def _image_fault(self, data: str, media_type: str) -> str | None:
        signs = _SIGNS.get(media_type)
        if signs is None:
            return f"models do not see {readable(media_type)[:80]}"
        if self._images == IMAGES_LIMIT:
            return f"there are more than {IMAGES_LIMIT}"
        if len(data) > IMAGE_LIMIT_BYTES // 3 * 4:
            return f"it has more than {IMAGE_LIMIT_BYTES} bytes"
        try:
            start = base64.b64decode(data, validate=True)[:16]
        except (binascii.Error, ValueError):
            return "its data is damaged"
        return None if start.startswith(signs) else f"it is no {media_type}"
