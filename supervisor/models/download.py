"""One file over HTTP into its part: resumed, retried, bounded.

A server that can send ranges goes on where the part ends, but only with the very version that the
part is of (If-Range). Whatever else it answers, the file is begun anew.
"""

import errno
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import requests

from supervisor.models.events import Event, Progress, Retrying
from supervisor.models.failures import ChangedError, ModelError, TransientError
from supervisor.models.manifest import Wanted
from supervisor.models.part import Part, Version
from supervisor.models.transport import Transport, check_status, unreachable

ATTEMPTS = 4
"""In a row that bring nothing. One that brings PIECE bytes or more starts the count again."""
FIRST_PAUSE, PAUSE_FACTOR = 0.5, 3.0
"""Seconds before the second attempt; how much longer each next pause is."""
PIECE = 256 * 1024
SLOW_FOR, SLOW_BYTES = 60.0, 60 * 1024
"""A server that sends less than this in that many seconds is as good as silent."""
LARGEST = 64 * 1024**3
RESERVE = 32 * 1024**2
"""Bytes that are left free on the disk: for logs, for the lock file."""
_SAMPLE = 64 * 1024

Tell = Callable[[Event], None]
Pause = Callable[[float], None]


def download(
    wanted: Wanted, part: Part, transport: Transport, tell: Tell, pause: Pause = time.sleep
) -> None:
    """Return when the part is the whole file, on the disk; nothing in it has been checked.

    Raises UnreachableError, ChangedError (its size is not what was recorded) or ModelError. What
    has come is kept, and the next call goes on from there.
    """
    fruitless = 0
    while True:
        before = part.length()
        try:
            _attempt(wanted, part, transport, tell)
        except TransientError as error:
            if part.length() >= before + PIECE:
                fruitless = 0
            fruitless += 1
            if fruitless == ATTEMPTS:
                raise _last_word(error, part) from None
            wait = error.pause
            if wait is None:
                wait = FIRST_PAUSE * PAUSE_FACTOR ** (fruitless - 1)
            tell(Retrying(wanted.model, wanted.name, error.why, wait))
            pause(wait)
        else:
            return


def _last_word(error: TransientError, part: Part) -> ModelError:
    if not error.reached:
        return unreachable(error)
    kept = "what has come is kept" if part.length() else "nothing has come"
    return ModelError(
        f"{error.why}, {ATTEMPTS} times in a row", f"{kept}; try again later: atlasctl models fetch"
    )


def _attempt(wanted: Wanted, part: Part, transport: Transport, tell: Tell) -> None:
    version, offset = part.version(wanted.url), part.length()
    if version is None or (version.validator is None and offset != version.size):
        offset = 0
    if version is not None and version.size is not None and offset > version.size:
        offset = 0
    if version is not None and offset and offset == version.size:
        return  # an earlier fetch ended just before its last step
    headers: dict[str, str] = {}
    if offset and version is not None:
        headers = {"Range": f"bytes={offset}-", "If-Range": cast("str", version.validator)}
    with transport.get(wanted.url, headers) as reply:
        check_status(reply, wanted.url)
        if reply.status_code == 200:
            offset, version = 0, _version(reply, wanted)
            _check_offer(reply, version, wanted)
            _check_room(wanted, version.size)
            descriptor = part.begin(version)
        elif offset and version is not None and _fits(reply, offset, version):
            _check_room(wanted, None if version.size is None else version.size - offset)
            descriptor = part.go_on()
        else:
            part.discard()
            raise TransientError(f"what was fetched earlier does not fit ({reply.status_code})")
        try:
            _receive(reply, descriptor, offset, version.size, wanted, tell)
        finally:
            os.close(descriptor)


def _version(reply: requests.Response, wanted: Wanted) -> Version:
    etag = reply.headers.get("ETag")
    if etag is not None and not etag.startswith('"'):
        etag = None
    length = reply.headers.get("Content-Length", "")
    size = int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None
    return Version(wanted.url, etag, reply.headers.get("Last-Modified"), size)


def _check_offer(reply: requests.Response, version: Version, wanted: Wanted) -> None:
    """Refuse before the first byte what the headers alone show to be wrong."""
    if reply.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
        raise ModelError(
            f"{wanted.url} is sent compressed, although that was not asked for",
            "is a proxy between that should not be?",
        )
    kind = reply.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    suffix = os.path.splitext(wanted.name)[1].lower()
    if kind in ("text/html", "application/xhtml+xml") and suffix not in (".html", ".htm"):
        raise ModelError(
            f"{wanted.url} is a web page ({kind}), not the file",
            "is it behind a login, or does a proxy answer? Open the URL in a browser",
        )
    if version.size is None:
        return
    if wanted.size is not None and version.size != wanted.size:
        raise changed(wanted, version.size, None)
    if version.size == 0:
        raise ModelError(f"{wanted.url} is empty", "was the upload of this release broken off?")
    if version.size > LARGEST:
        raise ModelError(f"{wanted.url} has {version.size} bytes", f"{LARGEST} are the most")


def changed(wanted: Wanted, size: int, sha256: str | None) -> ChangedError:
    """Return the refusal of a file that is not the one that was recorded."""
    was, now = f"{wanted.size} bytes", f"{size} bytes"
    if wanted.sha256 is not None and sha256 is not None and size == wanted.size:
        was, now = f"SHA-256 {wanted.sha256[:12]}…", f"{sha256[:12]}…"
    elif wanted.size is None and wanted.sha256 is not None:
        was, now = f"SHA-256 {wanted.sha256[:12]}…", f"{(sha256 or '')[:12]}…"
    accept = f"if that is meant: atlasctl models fetch --accept-changed {wanted.model}"
    if not wanted.recorded:
        accept = f"if that is meant, mend size and sha256 in {wanted.source}"
    return ChangedError(
        f"{wanted.url} is not the file that {wanted.source} says: {was} there, {now} here", accept
    )


def _fits(reply: requests.Response, offset: int, version: Version) -> bool:
    given = re.fullmatch(
        r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)",
        reply.headers.get("Content-Range", ""),
    )
    if reply.status_code != 206 or given is None or int(given[1]) != offset:
        return False
    return version.size is None or given[3] in ("*", str(version.size))


def _check_room(wanted: Wanted, needed: int | None) -> None:
    if needed is None:
        return
    folder = os.path.dirname(wanted.path)
    free = shutil.disk_usage(folder).free
    if needed + RESERVE > free:
        raise ModelError(
            f"the disk of {folder} has {_mib(free)} free, and {_mib(needed + RESERVE)} are needed",
            "make room, or name another directory for the model in the YAML",
        )


def _mib(count: int) -> str:
    return f"{count / 1024**2:.0f} MiB"


def _receive(
    reply: requests.Response,
    descriptor: int,
    resumed: int,
    size: int | None,
    wanted: Wanted,
    tell: Tell,
) -> None:
    done = resumed
    most = size if size is not None else (wanted.size or LARGEST)
    tell(Progress(wanted.model, wanted.name, done, size, resumed))
    for piece in _pieces(reply, wanted.url):
        done += len(piece)
        if done > most:
            raise ModelError(
                f"{wanted.url} does not end after {most} bytes",
                "this is not the file: mend url in the YAML",
            )
        _write(descriptor, piece, wanted)
        tell(Progress(wanted.model, wanted.name, done, size, resumed))
    if size is not None and done != size:
        raise TransientError(f"the connection ended after {done} of {size} bytes")
    os.fsync(descriptor)


def _pieces(reply: requests.Response, url: str) -> Iterator[bytes]:
    """Yield what comes, as it comes."""
    since, got = time.monotonic(), 0
    while piece := reply.raw.read1(PIECE, decode_content=False):
        yield piece
        got += len(piece)
        now = time.monotonic()
        if now - since >= SLOW_FOR:
            if got < SLOW_BYTES:
                raise TransientError(f"{url} came to a stop: {got} bytes in {now - since:.0f} s")
            since, got = now, 0


def _write(descriptor: int, piece: bytes, wanted: Wanted) -> None:
    rest = memoryview(piece)
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError as error:
        folder = os.path.dirname(wanted.path)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        hint = "make room, then fetch again: it goes on from here" if full else "mend that"
        raise ModelError(f"{folder} takes no more: {error.strerror}", hint) from None


@dataclass(frozen=True, slots=True)
class Offer:
    """What the server has: bytes (None if it does not say), and whether it sends ranges."""

    size: int | None
    ranges: bool


def ask(wanted: Wanted, transport: Transport) -> Offer:
    """Return what the server has, at the cost of one byte. Raises as Transport does."""
    # Not HEAD: addresses that are signed for GET, as those of releases are, refuse it.
    with transport.get(wanted.url, {"Range": "bytes=0-0"}) as reply:
        check_status(reply, wanted.url)
        if reply.status_code == 206:
            total = reply.headers.get("Content-Range", "").rpartition("/")[2]
            return Offer(int(total) if re.fullmatch(r"[0-9]{1,18}", total) else None, ranges=True)
        version = _version(reply, wanted)
        if reply.status_code == 200:
            _check_offer(reply, version, wanted)
        return Offer(version.size, ranges=False)


def same_samples(wanted: Wanted, path: str, size: int, transport: Transport) -> bool:
    """Tell whether pieces from the start, the middle and the end are the server's own.

    Other weights of the same architecture have the same size, and differ everywhere. Raises as
    Transport does; the server must send ranges.
    """
    with open(path, "rb") as file:
        for start in sorted({0, max(0, size // 2 - _SAMPLE // 2), max(0, size - _SAMPLE)}):
            file.seek(start)
            mine = file.read(_SAMPLE)
            asked = {"Range": f"bytes={start}-{start + len(mine) - 1}"}
            with transport.get(wanted.url, asked) as reply:
                check_status(reply, wanted.url)
                if reply.status_code != 206:
                    return False
                theirs = b""
                while len(theirs) < len(mine) and (
                    piece := reply.raw.read1(_SAMPLE, decode_content=False)
                ):
                    theirs += piece
                if theirs[: len(mine)] != mine:
                    return False
    return True
