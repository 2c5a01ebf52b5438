"""One request at a time, with this machine's proxies and certificates, and failures in words.

`requests` is imported here and in `supervisor.notify.webhook`, and nowhere else. It reads
HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE and .netrc.
"""

import contextlib
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, NameResolutionError

from supervisor import __version__, retry_after
from supervisor.models.failures import ModelError, TransientError, UnreachableError

CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 30.0
"""Seconds without a byte."""
REDIRECTS = 10
LONGEST_PAUSE = 60.0
"""Seconds that a server's Retry-After is heeded for."""
_TRANSIENT = frozenset((408, 425, 429, 500, 502, 503, 504))


class _DowngradeError(requests.RequestException):
    """https leads to http: whoever is between could then choose the file."""


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target is not None and urlsplit(resp.url).scheme == "https":
            absolute = urljoin(resp.url, target)
            if urlsplit(absolute).scheme != "https":
                resp.close()
                raise _DowngradeError(absolute, response=resp)
        return target


class SystemTrust(HTTPAdapter):
    """Trusts this system's certificates beside those that requests brings."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=ssl.create_default_context(), **kwargs)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        kwargs.setdefault("ssl_context", ssl.create_default_context())
        return super().proxy_manager_for(proxy, **kwargs)


class Transport:
    """Asks for files. Timeouts in seconds; `close` when done."""

    def __init__(
        self, *, connect_timeout: float = CONNECT_TIMEOUT, read_timeout: float = READ_TIMEOUT
    ) -> None:
        self._timeout = (connect_timeout, read_timeout)
        self._session = _Session()
        self._session.max_redirects = REDIRECTS
        self._session.headers["User-Agent"] = f"atlasctl/{__version__}"
        # What arrives must be the file's own bytes, or sizes and ranges would mean nothing.
        self._session.headers["Accept-Encoding"] = "identity"
        self._session.mount("https://", SystemTrust())

    def close(self) -> None:
        """Close its connections."""
        self._session.close()

    @contextlib.contextmanager
    def get(self, url: str, headers: Mapping[str, str]) -> Iterator[requests.Response]:
        """Give the reply, whatever its status, with its body unread.

        Raises TransientError, UnreachableError or ModelError, in the body of `with` too.
        """
        with _in_words(url), contextlib.ExitStack() as stack:
            reply = self._ask(url, headers)
            stack.callback(reply.close)
            yield reply

    def _ask(self, url: str, headers: Mapping[str, str]) -> requests.Response:
        try:
            return self._session.get(url, headers=headers, timeout=self._timeout, stream=True)
        except requests.RequestException:
            raise
        except OSError as error:  # of requests itself, about a file of certificates
            raise ModelError(str(error), "mend or unset REQUESTS_CA_BUNDLE") from None


def check_status(reply: requests.Response, url: str) -> None:
    """Raise what a status other than 200, 206 and 416 means."""
    status = reply.status_code
    if status in (200, 206, 416):
        return
    said = f"{status} {reply.reason}".strip()
    if status in _TRANSIENT:
        raise TransientError(f"{_host(url)} answered {said}", _retry_after(reply))
    if status == 407:
        raise ModelError(
            f"the proxy wants a password ({said})",
            "write it into the variable: HTTPS_PROXY=http://user:password@host:port",
        )
    if status in (401, 403):
        hint = "is it behind a login, or refused by a proxy? Open the URL in a browser"
    elif status in (404, 410):
        hint = "was the release moved? Mend url or files under models: in the YAML"
    else:
        hint = "open the URL in a browser, and see what it says"
    raise ModelError(f"{_host(url)} answered {said} for {url}", hint)


def _retry_after(reply: requests.Response) -> float | None:
    asked = retry_after.seconds(
        reply.headers.get("Retry-After", ""), reply.headers.get("Date", "")
    )
    return None if asked is None else min(asked, LONGEST_PAUSE)


@contextlib.contextmanager
def _in_words(url: str) -> Iterator[None]:
    host = _host(url)
    try:
        yield
    except _DowngradeError as error:
        raise ModelError(
            f"{host} leads from https to {error}, which is not encrypted",
            "it is not followed: anybody on the way could exchange the file",
        ) from None
    except requests.TooManyRedirects:
        raise ModelError(
            f"{host} leads from one place to another more than {REDIRECTS} times",
            "open the URL in a browser, and see where it ends",
        ) from None
    except (requests.exceptions.SSLError, ssl.SSLError) as error:
        raise ModelError(
            f"the certificate of {host} is not trusted: {_innermost(error)}",
            "behind a proxy that reads along, name its certificate: "
            "REQUESTS_CA_BUNDLE=/path/to/ca.pem",
        ) from None
    except requests.exceptions.ProxyError as error:
        raise TransientError(
            f"the proxy cannot be used: {_innermost(error)} (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY)",
            reached=False,
        ) from None
    except requests.exceptions.ConnectTimeout:
        raise TransientError(f"{host} does not answer", reached=False) from None
    except (requests.exceptions.Timeout, TimeoutError):
        raise TransientError(f"{host} sends nothing any more") from None
    except requests.exceptions.ConnectionError as error:
        if _was_reached(error):
            raise TransientError(f"{host} ended the connection") from None
        raise TransientError(
            f"{host} cannot be reached: {_innermost(error)}", reached=False
        ) from None
    except HTTPError as error:  # of urllib3, while the body is read
        if isinstance(error.__cause__, ssl.SSLError):
            raise TransientError(f"{host} ended the connection") from None
        timed_out = "timed out" in str(error).lower()
        why = "sends nothing any more" if timed_out else "ended the connection"
        raise TransientError(f"{host} {why}") from None
    except requests.RequestException as error:
        raise ModelError(f"{url} cannot be asked for: {error}", "mend url in the YAML") from None


def unreachable(error: TransientError) -> UnreachableError:
    """Return the final word on a server that could not be asked at all."""
    return UnreachableError(
        error.why,
        "is this machine offline? A proxy is named by HTTPS_PROXY=http://host:port",
    )


def _was_reached(error: BaseException) -> bool:
    """Tell whether a connection was there before it failed."""
    seen = list(_chain(error))
    return any(isinstance(e, ConnectionResetError | BrokenPipeError) for e in seen) or any(
        type(e).__name__ in ("RemoteDisconnected", "BadStatusLine", "IncompleteRead") for e in seen
    )


def _innermost(error: BaseException) -> str:
    """Return what the system said, out of four layers of wrapping."""
    for inner in _chain(error):
        if isinstance(inner, NameResolutionError | socket.gaierror):
            return "its name is not known here"
        if isinstance(inner, ssl.SSLCertVerificationError):
            return inner.verify_message
        if isinstance(inner, OSError) and inner.strerror and not inner.filename:
            return inner.strerror.lower()
        if isinstance(inner, OSError) and len(inner.args) == 1 and isinstance(inner.args[0], str):
            return inner.args[0]  # http.client's, of a tunnel that the proxy did not open
    return re.sub(r"<[^>]*>[:,]?\s*", "", str(error))[:200]


def _chain(error: BaseException) -> Iterator[BaseException]:
    pending: list[object] = [error]
    seen: set[int] = set()
    while pending:
        at = pending.pop(0)
        if not isinstance(at, BaseException) or id(at) in seen:
            continue
        seen.add(id(at))
        yield at
        pending += [at.__cause__, at.__context__, getattr(at, "reason", None), *at.args]


def _host(url: str) -> str:
    return urlsplit(url).hostname or url
