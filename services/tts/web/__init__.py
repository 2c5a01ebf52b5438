"""The speech page at `/`, and the files below `/static/` that it is made of.

Pages of other servers on this machine may import `/static/js/modules/tts-manager.js`.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from flask import Blueprint, Response, abort, request

if TYPE_CHECKING:
    from collections.abc import Mapping

_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

# Nothing from elsewhere, no script or style in the page itself, and nobody may frame it.
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "media-src blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

_HEADERS: Final = {
    "Cache-Control": "no-cache",  # kept, and asked about each time: an upgrade shows at once
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    content_type: str
    etag: str


def blueprint() -> Blueprint:
    """The routes; the files are read now. Where they are missing there is speech and no page."""
    routes = Blueprint("web", __name__)
    files = _read(os.path.dirname(__file__))

    @routes.get("/")
    def page() -> Response:
        # Clients that look whether a server is there have always got 404 here, as JSON.
        if not _asks_for_html():
            abort(404)
        response = _reply(files, "index.html")
        response.vary.add("Accept")
        return response

    @routes.get("/static/<path:file>")
    def static(file: str) -> Response:
        return _reply(files, f"static/{file}")

    return routes


def _read(folder: str) -> Mapping[str, _File]:
    """Every file that a browser may have, by its path with `/`."""
    files = {}
    for place, _, names in os.walk(folder):
        for name in names:
            content_type = _TYPES.get(os.path.splitext(name)[1])
            if content_type is None:
                continue
            path = os.path.join(place, name)
            with open(path, "rb") as file:
                content = file.read()
            relative = os.path.relpath(path, folder).replace(os.sep, "/")
            etag = hashlib.sha256(content).hexdigest()[:16]
            files[relative] = _File(content, content_type, etag)
    return files


def _reply(files: Mapping[str, _File], path: str) -> Response:
    found = files.get(path)
    if found is None:
        abort(404)
    response = Response(found.content, content_type=found.content_type, headers=_HEADERS)
    response.set_etag(found.etag)
    response.make_conditional(request)
    return response


def _asks_for_html() -> bool:
    """Whether Accept names HTML, as every browser does; `*/*` and none do not."""
    return any(
        kind.lower() == "text/html" and quality > 0 for kind, quality in request.accept_mimetypes
    )
