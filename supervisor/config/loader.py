"""The specs of a YAML file, compiled in a child process that is gone when `load` returns.

The caller never imports pydantic or PyYAML, never parses hostile text, and waits a bounded time for
a bounded answer. The answer alone counts, not the child's exit status: in the daemon a sweep of
`waitpid(-1)` may reap the child first, and then its status is lost.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping

from supervisor.config import codec
from supervisor.config.problems import ConfigError, Problem
from supervisor.core.spec import FleetSpec

TIMEOUT = 30.0
MAX_OUTPUT = 64 * 1024 * 1024
_STDERR_SHOWN = 4096


def load(
    path: str | os.PathLike[str],
    environ: Mapping[str, str] | None = None,
    *,
    timeout: float = TIMEOUT,
) -> FleetSpec:
    """Return what the file asks for; variables come from `environ`, or the process's own.

    Blocks for up to `timeout` seconds. Raises ConfigError with every problem found, and with one
    when the compiler itself is killed, runs out of a limit or takes too long.
    """
    file = os.path.abspath(os.fspath(path))
    variables = dict(os.environ if environ is None else environ)
    try:
        answer, said = _run(file, variables, timeout)
    except OSError as error:  # no such interpreter, no more processes, no more descriptors
        answer, said = b"", str(error)
    try:
        result = json.loads(answer)
        if "spec" in result:
            return codec.decode(FleetSpec, result["spec"])
        problems = [codec.decode(Problem, problem) for problem in result["problems"]]
    except (ValueError, TypeError, KeyError):
        raise ConfigError([_breakdown(file, answer, said)]) from None
    raise ConfigError(problems)


def _run(file: str, variables: Mapping[str, str], timeout: float) -> tuple[bytes, str]:
    command = [sys.executable, "-P", "-m", "supervisor.config.compile", "--environ-on-stdin"]
    process = subprocess.Popen(
        [*command, "--", file],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(),
        close_fds=True,
        start_new_session=True,
    )
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        process.kill()

    timer = threading.Timer(timeout, expire)
    timer.start()
    with process:
        stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
        if stdin is None or stdout is None or stderr is None:
            raise AssertionError("Popen gave no pipes")
        # A child that died before it read says why on its standard error.
        with contextlib.suppress(BrokenPipeError), stdin:
            stdin.write(json.dumps(variables).encode("ascii"))
        answer = stdout.read(MAX_OUTPUT + 1)
        if len(answer) > MAX_OUTPUT:
            process.kill()
        said = stderr.read(_STDERR_SHOWN).decode("utf-8", "replace")
    timer.cancel()
    timer.join()
    if expired.is_set():
        said = f"it took longer than {timeout:g} s"
    return answer, said


def _environment() -> dict[str, str]:
    """Return what the child needs to find this package; its own variables come through stdin.

    PYTHON* variables of the caller (PYTHONPATH, PYTHONSTARTUP, …) must not change the compiler.
    """
    holder = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    # site-packages must not come before the standard library, where PYTHONPATH would put it.
    if os.path.basename(holder) not in ("site-packages", "dist-packages"):
        kept["PYTHONPATH"] = holder
    return kept | {"PYTHONUTF8": "1"}


def _breakdown(file: str, answer: bytes, said: str) -> Problem:
    if len(answer) > MAX_OUTPUT:
        said = f"its result is larger than {MAX_OUTPUT // 1024**2} MiB"
    last = said.strip().splitlines()[-1:] or ["it was killed or could not run"]
    message = f"the compiler of the configuration gave no result: {last[0][:300]}"
    hint = f"try: {sys.executable} -m supervisor.config.compile {file}"
    return Problem(file, None, None, "", message, hint)
