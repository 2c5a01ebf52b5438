"""`python -m supervisor.export.check FILE`: ask a service what its probe asks, in its container.

Exit code 0: everything was as it must be; 1: it was not, and the last line says why. A fault of the
asker's own (no descriptor is left, the file cannot be read) is 0 with a word: it must not end a
service that works.
"""

import asyncio
import errno
import os
import subprocess
import sys
import tempfile
import time
from typing import Final, assert_never

from supervisor.core.events import ProbeResult
from supervisor.core.spec import Check, ExecCheck, HttpCheck, TcpCheck
from supervisor.export.questions import MAX_BYTES, Question, read

_OURS: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)
"""Why a command cannot be run that says nothing of the service."""


def main(argv: list[str]) -> int:
    """Ask what the files say, in order, up to the first answer that is wrong."""
    for path in argv:
        try:
            with open(path, encoding="utf-8") as stream:
                questions = read(stream.read(MAX_BYTES))
        except (OSError, ValueError) as error:
            print(f"not asked: {path}: {error}")
            continue
        for number, question in enumerate(questions):
            stamp = _stamp(path, number)
            if question.every is not None and not _is_due(question, question.every, stamp):
                continue
            result = _answer(question)
            print(result.detail)
            if result.ok is False:
                # Its stamp stays as it is, so it is asked again the next time.
                return 1
            if result.ok and question.every is not None:
                _touch(stamp)
    return 0


def _answer(question: Question) -> ProbeResult:
    """Ask, and ask again for as long as the question says."""
    ends = time.monotonic() + question.timeout
    result = ask(question.check, question.timeout)
    while result.ok is False and question.again is not None:
        left = ends - time.monotonic() - question.again
        if left <= 0:
            break
        time.sleep(question.again)
        result = ask(question.check, left)
    return result


def _is_due(question: Question, every: float, stamp: str) -> bool:
    """Tell whether a costly question is to be asked now."""
    try:
        age = time.time() - os.stat(stamp).st_mtime
    except OSError:
        return True
    if 0 <= age < every:
        return False
    idle = question.idle
    if idle is None or not 0 <= age < every + idle.deadline:
        return True
    if ask(idle.check, idle.timeout).busy:
        print("put off: it is busy")
        return False
    return True


def _stamp(path: str, number: int) -> str:
    """Return the file whose age is that of the last success of a question."""
    name = os.path.abspath(path).strip(os.sep).replace(os.sep, "-")
    return os.path.join(tempfile.gettempdir(), f"{name}.{number}.asked")


def _touch(stamp: str) -> None:
    try:
        with open(stamp, "ab"):
            os.utime(stamp)
    except OSError as error:
        print(f"cannot note when it was asked, so it will be asked each time: {error}")


def ask(check: Check, within: float) -> ProbeResult:
    """Make one check in `within` seconds."""
    match check:
        case HttpCheck():
            from supervisor.probes.http import http_probe

            return asyncio.run(http_probe(check, within))
        case TcpCheck():
            from supervisor.probes.tcp import tcp_probe

            return asyncio.run(tcp_probe(check, within))
        case ExecCheck():
            return _run(check, within)
        case _:
            assert_never(check)


def _run(check: ExecCheck, within: float) -> ProbeResult:
    # What it prints goes where ours goes. One that does not end is killed; its own children are
    # the container's to end.
    try:
        code = subprocess.run(check.command, timeout=within, check=False).returncode
    except subprocess.TimeoutExpired:
        text = f"{check.command[0]} did not end within {within:g} s"
        return ProbeResult(ok=False, detail=text)
    except OSError as error:
        ok = None if error.errno in _OURS else False
        return ProbeResult(ok=ok, detail=f"{check.command[0]}: {error.strerror}")
    return ProbeResult(ok=code == 0, detail=f"{check.command[0]} exited with {code}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
