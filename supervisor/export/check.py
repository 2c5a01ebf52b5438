"""`python -m supervisor.export.check FILE`: ask a service what its probe asks, in its container.

Exit code 0: everything was as it must be; 1: it was not, and the last line says why. A fault of the
asker's own (no descriptor is left, the file cannot be read) is 0 with a word: it must not end a
service that works.
"""

import asyncio
import subprocess
import sys
from typing import assert_never

from supervisor.core.events import ProbeResult
from supervisor.core.spec import ExecCheck, HttpCheck, TcpCheck
from supervisor.export.questions import MAX_BYTES, Question, read


def main(argv: list[str]) -> int:
    """Ask what the files say, in order, up to the first answer that is wrong."""
    for path in argv:
        try:
            with open(path, encoding="utf-8") as stream:
                questions = read(stream.read(MAX_BYTES))
        except (OSError, ValueError) as error:
            print(f"not asked: {path}: {error}")
            continue
        for question in questions:
            result = ask(question)
            print(result.detail)
            if result.ok is False:
                return 1
    return 0


def ask(question: Question) -> ProbeResult:
    """Ask one question within its time."""
    match question.check:
        case HttpCheck():
            from supervisor.probes.http import http_probe

            return asyncio.run(http_probe(question.check, question.timeout))
        case TcpCheck():
            from supervisor.probes.tcp import tcp_probe

            return asyncio.run(tcp_probe(question.check, question.timeout))
        case ExecCheck():
            return _run(question.check, question.timeout)
        case _:
            assert_never(question.check)


def _run(check: ExecCheck, within: float) -> ProbeResult:
    # What it prints goes where ours goes. One that does not end is killed; its own children are
    # the container's to end.
    try:
        code = subprocess.run(check.command, timeout=within, check=False).returncode
    except subprocess.TimeoutExpired:
        text = f"{check.command[0]} did not end within {within:g} s"
        return ProbeResult(ok=False, detail=text)
    except OSError as error:
        return ProbeResult(ok=False, detail=f"{check.command[0]}: {error.strerror}")
    return ProbeResult(ok=code == 0, detail=f"{check.command[0]} exited with {code}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
