"""One POST: with this machine's proxies and certificates, no redirect, and failures in words.

The URL may be a secret as a whole, and requests repeats it in its errors: no text from there goes
on. Imported when there is something to send, for `requests` costs 20 MB.
"""

import re
import ssl
from typing import Final
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import NameResolutionError

from supervisor import __version__, retry_after
from supervisor.core.notify import Webhook
from supervisor.models.transport import SystemTrust
from supervisor.notify.mailbox import Letter
from supervisor.notify.outcome import Delivered, Missed, Outcome
from supervisor.notify.words import body, host_of

_TRANSIENT: Final = frozenset((408, 425, 429, 500, 502, 503, 504))


def post(webhook: Webhook, letter: Letter, host: str) -> Outcome:
    """Send one letter. Takes the webhook's timeout for each of connecting and answering."""
    kind, data = body(letter, host, webhook.format)
    headers = {
        "Content-Type": kind,
        "User-Agent": f"atlasctl/{__version__}",
        # The same for each try of one letter: whoever gets it twice can tell.
        "Idempotency-Key": f"{host}-{letter.seq}-{letter.event}",
        **webhook.headers,
    }
    with requests.Session() as session:
        session.mount("https://", SystemTrust())
        # Or requests would put a login of ~/.netrc in the place of the header that was asked for.
        session.auth = _as_it_is
        # A proxy would look for this address on its own machine.
        session.trust_env = not _is_here(host_of(webhook.url))
        try:
            reply = session.post(
                webhook.url,
                data=data,
                headers=headers,
                timeout=webhook.timeout,
                allow_redirects=False,
                stream=True,
            )
        except (requests.RequestException, OSError) as error:
            return Missed(f"{host_of(webhook.url)} {_reason(error, webhook.timeout)}", again=True)
        with reply:
            return _judged(reply, webhook)


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _is_here(name: str) -> bool:
    return name in ("localhost", "::1") or re.fullmatch(r"127(\.[0-9]+){3}", name) is not None


def _judged(reply: requests.Response, webhook: Webhook) -> Outcome:
    said = f"{reply.status_code} {reply.reason or ''}".strip()
    words = f"{host_of(webhook.url)} answered {said}"
    if 200 <= reply.status_code < 300:
        return Delivered(words)
    if 300 <= reply.status_code < 400:
        where = urlsplit(reply.headers.get("Location", "")).hostname
        to = f" and leads to {where}" if where else " and leads elsewhere"
        return Missed(f"{words}{to}, which is not followed: write the final URL", again=False)
    if reply.status_code in _TRANSIENT or reply.status_code >= 500:
        headers = reply.headers
        after = retry_after.seconds(headers.get("Retry-After", ""), headers.get("Date", ""))
        return Missed(words, again=True, after=after)
    return Missed(words, again=False)


def _reason(error: Exception, timeout: float) -> str:
    if isinstance(error, requests.exceptions.SSLError):
        innermost = _cause(error, ssl.SSLCertVerificationError)
        why = getattr(innermost, "verify_message", "") or "TLS failed"
        return f"is not trusted: {why}"
    if isinstance(error, requests.Timeout):
        return f"did not answer within {timeout:g} s"
    if isinstance(error, requests.exceptions.ProxyError):
        return "cannot be reached through the proxy of the environment"
    if _cause(error, NameResolutionError) is not None:
        return "has no address"
    refused = _cause(error, OSError)
    if isinstance(refused, OSError) and refused.strerror:
        return f"cannot be reached: {refused.strerror}"
    return "broke the connection off"


def _cause(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    """Return the exception of this kind that led to this one; requests' own is an OSError too."""
    seen: list[BaseException] = []
    pending = [error]
    while pending and len(seen) < 20:
        one = pending.pop()
        seen.append(one)
        if isinstance(one, kind) and not isinstance(one, requests.RequestException):
            return one
        linked = (one.__cause__, one.__context__, getattr(one, "reason", None), *one.args)
        pending += [each for each in linked if isinstance(each, BaseException) and each not in seen]
    return None
