"""Telling people on this machine: a command of theirs, or a notification on the screen."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final

from supervisor.core.exits import signal_words
from supervisor.core.notify import Hook
from supervisor.notify.mailbox import Letter
from supervisor.notify.outcome import Delivered, Missed, Outcome
from supervisor.notify.words import data, sentence, title
from supervisor.probes.expectations import line_of

DESKTOP_TIMEOUT: Final = 10.0
_SHOWN: Final = 200
"""Characters of what a command has printed."""
_LOOK_EVERY: Final = 0.05
_CHUNK: Final = 64 * 1024
_MOST_READS: Final = 64
"""Between two looks: what prints without end is ended by its deadline."""
_CLIP: Final = 256
"""Characters of a text on the screen; macOS shows fewer."""

# The texts are arguments: nothing of them is ever read as AppleScript.
_SCRIPT: Final = (
    "on run argv\ndisplay notification (item 2 of argv) with title (item 1 of argv)\nend run"
)


def run_hook(
    hook: Hook, letter: Letter, host: str, environ: Mapping[str, str], cwd: str | None = None
) -> Outcome:
    """Run the command of one letter; `cwd` None: where we are."""
    told = {
        "ATLAS_EVENT": letter.event,
        "ATLAS_SERVICE": letter.service,
        "ATLAS_SUMMARY": sentence(letter),
    }
    given = json.dumps(data(letter, host), ensure_ascii=False).encode("utf-8", "backslashreplace")
    return _run(hook.command, {**environ, **told}, given, hook.timeout, cwd)


def show(letter: Letter, environ: Mapping[str, str], platform: str = sys.platform) -> Outcome:
    """Show one letter on the screen."""
    program = desktop_program(environ, platform)
    if program is None:
        return Missed(no_desktop(platform), again=False)
    heading, text = title(letter), sentence(letter)[:_CLIP]
    if platform == "darwin":
        command: tuple[str, ...] = (program, "-e", _SCRIPT, heading, text)
    else:
        urgency = "critical" if letter.event in ("failed", "hung") else "normal"
        # The body is markup to many notification servers; `--` ends the options.
        command = (program, "-a", "atlasctl", "-u", urgency, "--", heading, _without_markup(text))
    return _run(command, environ, b"", DESKTOP_TIMEOUT, None)


def desktop_program(environ: Mapping[str, str], platform: str = sys.platform) -> str | None:
    """Return the program that shows notifications here, or None."""
    name = "osascript" if platform == "darwin" else "notify-send"
    return shutil.which(name, path=environ.get("PATH"))


def no_desktop(platform: str = sys.platform) -> str:
    """Return why nothing can be shown."""
    if platform == "darwin":
        return "osascript is not on PATH, so nothing can be shown on the screen"
    return "notify-send is not installed (libnotify), so nothing can be shown on the screen"


def _without_markup(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _run(
    command: Sequence[str],
    environ: Mapping[str, str],
    given: bytes,
    timeout: float,
    cwd: str | None,
) -> Outcome:
    name = os.path.basename(command[0])
    try:
        # `given` is a few KiB, which a pipe takes without a reader.
        reading, writing = os.pipe()
        with open(reading, "rb"), open(writing, "wb") as stdin:
            stdin.write(given)
            stdin.close()
            process = subprocess.Popen(
                command,
                env=dict(environ),
                cwd=cwd,
                stdin=reading,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
    except OSError as error:
        return Missed(f"{name} cannot be run: {error.strerror}", again=False)
    return _until_its_end(name, process, timeout)


def _until_its_end(name: str, process: "subprocess.Popen[bytes]", timeout: float) -> Outcome:
    deadline = time.monotonic() + timeout
    with process:
        tail = b""
        while True:
            # Not `communicate`, which keeps all that is printed and waits until nobody holds the
            # pipe: a command may leave something behind that does.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_LOOK_EVERY)
            tail = _read(process, tail)
            if process.returncode is not None:
                break
            if time.monotonic() > deadline:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
                return Missed(f"{name} did not end within {timeout:g} s", again=True)
    if process.returncode == 0:
        return Delivered(f"{name} exited with code 0")
    shown = line_of(tail.decode("utf-8", "replace"))[-_SHOWN:].strip()
    ending = process.returncode
    how = f"was killed by {signal_words(-ending)}" if ending < 0 else f"exited with code {ending}"
    return Missed(f"{name} {how}{f': {shown}' if shown else ''}", again=True)


def _read(process: "subprocess.Popen[bytes]", tail: bytes) -> bytes:
    """Return the last of what was printed, with what can be read without waiting."""
    assert process.stdout is not None, "it was asked for"  # noqa: S101
    fd = process.stdout.fileno()
    os.set_blocking(fd, False)
    for _ in range(_MOST_READS):
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            break
        if not data:
            break
        tail = (tail + data)[-4 * _SHOWN :]
    return tail
