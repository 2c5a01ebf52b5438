"""Stock and ours as processes that can be asked to speak, and the memory that each takes."""

import contextlib
import json
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import requests

from benchmarks.proc import use_of

CHECKOUT: Final = Path(__file__).parents[2]
VOICE: Final = "dmytro"
RATE: Final = 22_050
PATIENCE: Final = 900.0
"""Seconds that any one thing may take."""

_SAMPLING_SECONDS: Final = 0.2
_HEADER: Final = 44
_WAIT_HEADER: Final = {"Prefer": "wait=120", "Connection": "close"}


class SpeakerError(Exception):
    """A voice does not speak; the message holds its last words."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What one text took, in seconds from the request on."""

    first: float
    """Until the first audio."""
    whole: float
    """Until the last."""
    audio: float
    """Length of what was heard, pauses included."""


@dataclass(frozen=True, slots=True)
class Memory:
    """The most that a process held, in bytes."""

    pss: int
    rss: int


class Speaker(Protocol):
    """A voice in a process."""

    name: str
    process: "Process"

    def say(self, text: str) -> Heard:
        """Speaks a text of the pipeline. Raises SpeakerError."""

    def say_all(self, texts: Sequence[str]) -> list[Heard]:
        """Speaks for as many clients at once; times count from when all have asked."""


class Process:
    """A child whose output is kept, and whose memory is watched. Closing ends it."""

    def __init__(self, command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> None:
        self.began = time.perf_counter()
        self.child = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._last: list[str] = []
        self._pss = 0
        self._closed = threading.Event()
        self._threads = [threading.Thread(target=self._read), threading.Thread(target=self._watch)]
        for thread in self._threads:
            thread.start()

    def line(self, pattern: str) -> re.Match[str]:
        """Returns the next line of the output that has `pattern`. Raises SpeakerError."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                last = " / ".join(self._last[-5:])
                raise SpeakerError(f"it did not say {pattern!r}; its last words: {last}")
            self._last = [*self._last[-20:], line.strip()]
            if found := re.search(pattern, line):
                return found

    def ask(self, line: str) -> None:
        """Writes a line to its input."""
        assert self.child.stdin is not None  # noqa: S101 - it is a pipe
        self.child.stdin.write(f"{line}\n")
        self.child.stdin.flush()

    def memory(self) -> Memory:
        """Returns the most it has held so far."""
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        return Memory(self._pss, int(found[1]) * 1024 if found else 0)

    def close(self) -> None:
        """Ends it at once."""
        self._closed.set()
        self.child.kill()
        self.child.wait(30.0)
        for thread in self._threads:
            thread.join(30.0)
        for pipe in (self.child.stdin, self.child.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def _read(self) -> None:
        assert self.child.stdout is not None  # noqa: S101 - it is a pipe
        for line in self.child.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _watch(self) -> None:
        while not self._closed.wait(_SAMPLING_SECONDS):
            self._pss = max(self._pss, use_of([self.child.pid]).pss)


class Stock:
    """`ukrainian_tts.TTS`; clients are served one after the other, as one model can."""

    name = "stock"

    def __init__(self, model: Path, frames: int) -> None:
        """`model` is the directory of its files; `frames` is the most that a token may have."""
        self._frames = frames
        self.process = Process(
            [sys.executable, "-m", "benchmarks.voices.stock"],
            model,
            {"PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1"},
        )

    def say(self, text: str) -> Heard:
        """Speaks; the audio comes in one piece."""
        began = time.perf_counter()
        self.process.ask(json.dumps({"text": text, "voice": VOICE, "frames": self._frames}))
        answer = json.loads(self.process.line(r"^answer (\{.*\})")[1])
        whole = time.perf_counter() - began
        if not answer["same"]:
            raise SpeakerError(f"it says another text than {text!r}")
        return Heard(whole, whole, answer["samples"] / RATE)

    def say_all(self, texts: Sequence[str]) -> list[Heard]:
        """Speaks one after the other; each client also waits for those before it."""
        heard: list[Heard] = []
        waited = 0.0
        for text in texts:
            one = self.say(text)
            heard.append(Heard(waited + one.first, waited + one.whole, one.audio))
            waited += one.whole
        return heard


class Ours:
    """The server of this checkout, asked over HTTP for streamed WAV."""

    name = "ours"

    def __init__(self, model: Path, frames: int, *, clients: int, exact: bool) -> None:
        """`clients` is how many will ask at once; the others as for `Stock`."""
        self.process = Process(
            [
                *(sys.executable, "-m", "benchmarks.voices.ours", str(frames)),
                *("--engine", "ukrainian"),
                *("--device", "cpu", "--model-dir", str(model), "--port", "0"),
                *("--queue", str(clients), "--sentence-limit", str(PATIENCE)),
                *(["--exact"] if exact else []),
            ],
            CHECKOUT,
            {"PYTHONUNBUFFERED": "1"},
        )
        self._url = self.process.line(r"listening on (http://[^\s,]+)")[1]

    def say(self, text: str) -> Heard:
        """Speaks; the audio comes sentence by sentence."""
        return _posted(self._url, text, time.perf_counter())

    def say_all(self, texts: Sequence[str]) -> list[Heard]:
        """Speaks for as many connections at once; in the order in which they were served."""
        found: list[Heard | SpeakerError] = []
        began = time.perf_counter()

        def client(text: str) -> None:
            try:
                found.append(_posted(self._url, text, began))
            except SpeakerError as error:
                found.append(error)

        threads = [threading.Thread(target=client, args=(text,)) for text in texts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        heard = []
        for one in found:
            if isinstance(one, SpeakerError):
                raise one
            heard.append(one)
        return heard


def _posted(url: str, text: str, began: float) -> Heard:
    body = {"text": text, "voice": VOICE, "return_audio": True, "stream": True}
    first, size = 0.0, 0
    try:
        with requests.post(
            f"{url}/tts", json=body, headers=_WAIT_HEADER, stream=True, timeout=PATIENCE
        ) as answer:
            if answer.status_code != 200:
                raise SpeakerError(f"status {answer.status_code}: {answer.text[:300]}")
            engine = answer.headers.get("X-TTS-Engine")
            if engine != "ukrainian":
                raise SpeakerError(f"{engine} spoke instead of the neural voice")
            for chunk in answer.iter_content(chunk_size=None):
                size += len(chunk)
                if not first and size > _HEADER:
                    first = time.perf_counter() - began
    except requests.RequestException as error:
        raise SpeakerError(f"the request failed: {error}") from error
    return Heard(first, time.perf_counter() - began, (size - _HEADER) / 2 / RATE)
