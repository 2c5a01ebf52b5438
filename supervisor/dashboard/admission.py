"""Who is let in, and from which page. Pure: from a WSGI environment to a refusal or none.

The token comes in the header `Authorization: Bearer …`, which the page sets, and in no cookie.
Cookies know no ports: a cookie of 127.0.0.1:3900 would be sent to every other server of
127.0.0.1, another user's among them, and a browser sends it for pages that are not ours, which is
what makes forged requests. A header can be set by this page alone, since there is no CORS. Where
the page keeps it: see static/js/api.js.

Any user of this machine can connect to the port: nobody but the token tells who it is.
"""

import hmac
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

COMMAND_TYPE: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not served, as status code, words and what to do."""

    status: int
    why: str
    hint: str = ""


def own_hosts(ports: Collection[int]) -> frozenset[str]:
    """Return what may stand in a Host header: loopback by its own names, at our ports."""
    return frozenset(
        f"{name}:{port}" for port in ports for name in ("127.0.0.1", "localhost", "[::1]")
    )


def wrong_host(environ: Mapping[str, object], hosts: Collection[str]) -> Refusal | None:
    """Refuse who came by another name: a page of the web whose name was rebound to loopback."""
    if _header(environ, "HTTP_HOST").lower() in hosts:
        return None
    return Refusal(
        421,
        "this is not the name of the dashboard",
        f"call it as http://{min(hosts)}; a tunnel must have the same port at both ends",
    )


def foreign_page(environ: Mapping[str, object], hosts: Collection[str]) -> Refusal | None:
    """Refuse a request that a page of another origin has made."""
    origin, host = _header(environ, "HTTP_ORIGIN"), _header(environ, "HTTP_HOST").lower()
    if origin and (host not in hosts or origin.lower() != f"http://{host}"):
        return Refusal(403, "another page may not ask the dashboard")
    # Set by the browser, and by no script. `none`: the person typed the address.
    if _header(environ, "HTTP_SEC_FETCH_SITE") not in ("", "same-origin", "none"):
        return Refusal(403, "another page may not ask the dashboard")
    return None


def no_token(environ: Mapping[str, object], token: str) -> Refusal | None:
    """Refuse who does not know the token."""
    scheme, _, given = _header(environ, "HTTP_AUTHORIZATION").partition(" ")
    known = hmac.compare_digest(given.strip().encode("utf-8", "replace"), token.encode())
    if known and scheme.lower() == "bearer":
        return None
    return Refusal(401, "the token is missing or wrong", "open the page with: atlasctl dashboard")


def no_json(environ: Mapping[str, object]) -> Refusal | None:
    """Refuse a body of a kind that a plain form could send."""
    kind = _header(environ, "CONTENT_TYPE").partition(";")[0].strip().lower()
    if kind == COMMAND_TYPE:
        return None
    return Refusal(415, "a command is JSON", f"send Content-Type: {COMMAND_TYPE}")


def _header(environ: Mapping[str, object], name: str) -> str:
    return str(environ.get(name, ""))
