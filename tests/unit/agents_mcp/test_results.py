from __future__ import annotations

import base64

import mcp_types as types
import pytest

from callsheet.agents.mcp.results import IMAGE_LIMIT_BYTES, TEXT_LIMIT_CHARS, content_of
from callsheet.agents.tools.names import ToolContent, ToolFailure
from tests.support.mcp_server import PIXEL


def given(*blocks: types.ContentBlock, **more: object) -> ToolContent:
    return content_of("mcp__s__t", types.CallToolResult.model_validate({"content": list(blocks), **more}))


def text(words: str) -> types.TextContent:
    return types.TextContent(type="text", text=words)


def image(data: bytes, media_type: str = "image/png") -> types.ImageContent:
    return types.ImageContent(type="image", data=base64.b64encode(data).decode(), mime_type=media_type)


def test_text_comes_as_text() -> None:
    assert given(text("a"), text("b")) == "a\nb"
    assert given() == "[it gave nothing back]"


def test_values_without_text_come_as_json() -> None:
    assert given(structured_content={"a": 1}) == '{\n "a": 1\n}'


def test_an_image_comes_as_an_image_among_the_text() -> None:
    found = given(text("see"), image(PIXEL))
    assert isinstance(found, list)
    assert [block["type"] for block in found] == ["text", "image"]
    assert found[1]["source"]["media_type"] == "image/png"


@pytest.mark.parametrize(
    ("block", "why"),
    [
        (image(b"not a picture"), "it is no image/png"),
        (image(PIXEL, "image/jpeg"), "it is no image/jpeg"),
        (image(PIXEL, "image/svg+xml"), "models do not see image/svg+xml"),
        (image(PIXEL + b"\0" * IMAGE_LIMIT_BYTES), "more than"),
        (types.ImageContent(type="image", data="%%%", mime_type="image/png"), "its data is damaged"),
    ],
)
def test_an_image_that_would_break_the_conversation_is_told_instead(block: types.ImageContent, why: str) -> None:
    found = given(block)
    assert isinstance(found, str)
    assert why in found


def test_sound_and_resources_are_told_or_shown() -> None:
    link = types.ResourceLink(type="resource_link", name="n", uri="file:///a", description="d")
    inner = types.EmbeddedResource(type="resource", resource=types.TextResourceContents(uri="x://y", text="words"))
    blob = types.EmbeddedResource(
        type="resource",
        resource=types.BlobResourceContents(uri="x://z", blob="AAAA", mime_type="application/zip"),
    )
    sound = types.AudioContent(type="audio", data="AAAA", mime_type="audio/wav")
    assert given(link, inner, blob, sound) == (
        "[resource file:///a (n): d]\n[resource x://y]\nwords\n[resource x://z of application/zip, which is not shown]"
        "\n[audio of type audio/wav, which is not shown]"
    )


def test_text_is_cut_at_its_limit_and_says_so_once() -> None:
    found = given(text("x" * (TEXT_LIMIT_CHARS - 1)), text("yyy"), text("zzz"))
    assert isinstance(found, str)
    assert len(found) < TEXT_LIMIT_CHARS + 100
    assert found.count("cut after") == 1


def test_a_failure_is_told_with_its_words() -> None:
    with pytest.raises(ToolFailure, match="mcp__s__t: no such table"):
        given(text("no such table"), is_error=True)
    with pytest.raises(ToolFailure, match="does not say why"):
        given(is_error=True)
