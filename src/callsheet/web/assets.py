"""The files of the page, read once: what is not among them cannot be asked for, whatever a path looks like."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from callsheet.model.dataclass import dataclass
from callsheet.web.faults import RequestRefusedError

PAGE = Path(__file__).parent / "page"
INDEX = "index.html"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A file of the page; `tag` says which version it is."""

    data: bytes
    media_type: str
    tag: str

    def answer(self, request: Request) -> Response:
        """The file, or that the browser has it already."""
        headers = {"ETag": self.tag, "Cache-Control": "no-cache", "Content-Type": self.media_type}
        if request.headers.get("if-none-match") == self.tag:
            return Response(status_code=304, headers=headers)
        return Response(self.data, headers=headers)


def load_assets(folder: Path = PAGE) -> Mapping[str, Asset]:
    """The files of a page, by name; those in folders below it are none.

    Raises:
        OSError: They cannot be read.
    """
    found = {}
    for path in sorted(folder.iterdir()):
        media_type = _TYPES.get(path.suffix)
        if media_type is not None and path.is_file():
            data = path.read_bytes()
            tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
            found[path.name] = Asset(data=data, media_type=media_type, tag=tag)
    return found


def asset_named(assets: Mapping[str, Asset], name: str) -> Asset:
    """One of them.

    Raises:
        RequestRefusedError: There is none of that name.
    """
    found = assets.get(name)
    if found is None:
        raise RequestRefusedError("There is nothing at this address.", status=404, kind="not_found")
    return found
