"""A stand-in for a user's systemd: it starts units, hears what they say, and watches over them."""

import contextlib
import os
import shlex
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.install.stand_in import DEADLINE, Answer, Job, StandIn

if sys.platform == "linux":
    PASSCRED, CREDENTIALS = socket.SO_PASSCRED, socket.SCM_CREDENTIALS
else:
    PASSCRED = CREDENTIALS = 0


class Systemd(StandIn):
    """The user's systemd, and systemctl. `watchdog` in seconds takes the place of the unit's."""

    programs: tuple[str, ...] = ("systemctl",)

    def __init__(self, folder: Path, home: Path) -> None:
        self.units: dict[str, dict[str, list[str]]] = {}
        self.jobs: dict[str, Job] = {}
        self.messages: list[list[str]] = []
        self.watchdog = 0.0
        self.patience = 0.0
        """Seconds of silence that end a daemon; 0: those of the watchdog, as it is told them."""
        self.bus = True
        self._fed = threading.Event()
        self._closed = False
        super().__init__(folder, home)
        self._ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ear.setsockopt(socket.SOL_SOCKET, PASSCRED, 1)
        self._ear.bind(os.path.join(self.short, "n"))
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()
        self._dog = threading.Thread(target=self._watch)
        self._dog.start()

    def answer(self, argv: Sequence[str]) -> Answer:
        if list(argv[1:]) == ["--version"]:
            return 0, "systemd 252 (252.38-1)\n+PAM +AUDIT\n", ""
        assert argv[1] == "--user", argv
        if not self.bus:
            return 1, "", "Failed to connect to bus: No medium found\n"
        match list(argv[2:]):
            case ["show", "--property=Version"]:
                return 0, "Version=252\n", ""
            case ["show", "--property=MainPID", name]:
                job = self.jobs.get(name)
                return 0, f"MainPID={(job and job.pid) or 0}\n", ""
            case ["daemon-reload"]:
                with self.lock:
                    self.units = {path.name: read_unit(path) for path in self._folder.glob("*.s*")}
                return 0, "", ""
            case ["reset-failed", _]:
                return 0, "", ""
            case ["start", name]:
                return self._start(name)
            case ["stop", name]:
                if name not in self.units:
                    return 5, "", f"Failed to stop {name}: Unit {name} not loaded.\n"
                if job := self.jobs.get(name):
                    job.end()
                return 0, "", ""
            case _:
                raise AssertionError(argv)

    @property
    def _folder(self) -> Path:
        return self.home / ".config" / "systemd" / "user"

    def _start(self, name: str) -> Answer:
        with self.lock:
            unit = self.units.get(name)
            if unit is None:
                return 5, "", f"Failed to start {name}: Unit {name} not found.\n"
            job = self.jobs.get(name)
            if job is not None and job.pid is None:
                job.end()  # it waits to be started again, and is at once
            if job is None or job.over.is_set():
                job = self.jobs[name] = self._begin(unit)
            before = len(job.codes)
        while not job.ready.wait(0.02):
            if len(job.codes) > before:
                why = f"Job for {name} failed because the service did not take the steps required\n"
                return 1, "", f"{why}See systemctl status {name} for details.\n"
        return 0, "", ""

    def _begin(self, unit: Mapping[str, list[str]]) -> Job:
        assert unit["Type"] == ["notify"]
        assert unit["KillMode"] == ["process"]
        assert unit["Restart"] == ["on-failure"]
        (line,) = unit["ExecStart"]
        program, *rest = shlex.split(line.replace("%%", "%"))
        env = {**self.environment(), "NOTIFY_SOCKET": os.path.join(self.short, "n")}
        env["PATH"] = "/usr/local/bin:/usr/bin:/bin"
        if self.watchdog:
            env["WATCHDOG_USEC"] = str(int(self.watchdog * 1e6))
        for each in unit["Environment"]:
            (word,) = shlex.split(each.replace("%%", "%"))
            key, _, value = word.partition("=")
            env[key] = value
        argv = [program, *(word.replace("$$", "$") for word in rest)]
        return Job(argv, env, str(self.bin.parent / "journal"), self)

    def restarts(self, code: int) -> bool:
        return code not in (0, -signal.SIGTERM)  # RestartPreventExitStatus=0

    def _listen(self) -> None:
        while not self._closed:
            data, ancillary, _, _ = self._ear.recvmsg(4096, socket.CMSG_SPACE(12))
            (sender,) = (
                struct.unpack("3i", content)[0]
                for _, kind, content in ancillary
                if kind == CREDENTIALS
            )
            for job in list(self.jobs.values()):
                if job.pid == sender:  # NotifyAccess=main
                    lines = data.decode().splitlines()
                    self.messages.append(lines)
                    if "READY=1" in lines:
                        job.ready.set()
                    if "WATCHDOG=1" in lines:
                        self._fed.set()

    def _watch(self) -> None:
        heard = time.monotonic()
        while not self._closed:
            fed = self._fed.wait(0.05)
            self._fed.clear()
            silent = time.monotonic() - heard
            if not fed and (not self.watchdog or silent < (self.patience or self.watchdog)):
                continue
            heard = time.monotonic()
            for job in list(self.jobs.values()):
                pid = job.pid
                if not fed and job.ready.is_set() and pid is not None:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    def said(self, word: str) -> int:
        """Return how often the daemon has said this."""
        return sum(word in lines for lines in self.messages)

    def close(self) -> None:
        for job in self.jobs.values():
            job.end()
        self._closed = True
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.connect(os.path.join(self.short, "n"))
            last.send(b"")
        self._fed.set()
        self._listener.join(DEADLINE)
        self._dog.join(DEADLINE)
        self._ear.close()
        super().close()


def read_unit(path: Path) -> dict[str, list[str]]:
    """Return what is set in a unit, whatever the section."""
    found: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found
