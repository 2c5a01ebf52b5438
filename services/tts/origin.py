"""Who may talk to a server that listens on loopback: pages of this machine, by its own names.

Pages on other localhost ports are let in by CORS. A page of the web whose name was rebound to
127.0.0.1 is kept out by its Host header, which still carries that name.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFLIGHT_SECONDS: Final = 600

_METHODS: Final = "GET, HEAD, POST, OPTIONS"
_HEADERS: Final = "Content-Type, Accept, Authorization, Cache-Control, Prefer"
_EXPOSED: Final = "Content-Disposition, Retry-After, X-TTS-Engine, X-TTS-Notice"


def is_loopback_host(header: str) -> bool:
    """Whether a Host header (`name`, `name:port`, `[v6]:port`) means this machine by itself."""
    return _is_loopback_name(_hostname(f"//{header}"))


def is_local_origin(origin: str) -> bool:
    """Whether an Origin is a page served from this machine, on any port."""
    return origin.startswith(("http://", "https://")) and _is_loopback_name(_hostname(origin))


def cors_headers(origin: str | None, asked: Mapping[str, str]) -> dict[str, str]:
    """The CORS headers of a reply, none for a foreign origin; `asked` is the request's headers."""
    # Vary even without a match: a cache must not hand one origin's reply to another.
    headers = {"Vary": "Origin"}
    if origin is None or not is_local_origin(origin):
        return headers
    headers["Access-Control-Allow-Origin"] = origin
    headers["Access-Control-Expose-Headers"] = _EXPOSED
    if "Access-Control-Request-Method" in asked:
        headers["Access-Control-Allow-Methods"] = _METHODS
        # Clients made for other servers add headers of their own, such as X-Stainless-Lang.
        wanted = asked.get("Access-Control-Request-Headers")
        headers["Access-Control-Allow-Headers"] = f"{_HEADERS}, {wanted}" if wanted else _HEADERS
        headers["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)
    if asked.get("Access-Control-Request-Private-Network") == "true":
        headers["Access-Control-Allow-Private-Network"] = "true"
    return headers


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _is_loopback_name(name: str | None) -> bool:
    if name is None:
        return False
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
