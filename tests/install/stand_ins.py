"""Stand-ins for launchd and for a user's systemd, with the programs that speak to them.

They run the real daemon, as the real files say, in the environment of a login; restart it, watch
over it, and are awkward in the ways that the real ones are. The state is here, in the test's own
process; the programs on PATH only pass on what they were asked.
"""

import contextlib
import json
import os
import plistlib
import shlex
import shutil
import signal
import socket
import socketserver
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

DEADLINE = 30.0

Answer = tuple[int, str, str]
"""Exit code, standard output, standard error."""

_PROGRAM = """\
#!{python} -ISs
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as speaking:
    speaking.connect({address!r})
    speaking.sendall(json.dumps([os.path.basename(sys.argv[0]), *sys.argv[1:]]).encode() + b"\\n")
    code, out, err = json.loads(speaking.makefile().readline())
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(code)
"""


class Job:
    """One process, started again as its manager would."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], log: str, manager: "StandIn"):
        self.argv, self.env, self.log, self.manager = argv, env, log, manager
        self.process: subprocess.Popen[bytes] | None = None
        self.codes: list[int] = []
        self.ready = threading.Event()
        self.over = threading.Event()
        """It does not run, and will not again."""
        self.cancelled = threading.Event()
        self._lock = threading.Lock()
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()
        assert self._begun.wait(DEADLINE)

    def _keep(self) -> None:
        try:
            while (process := self._spawn()) is not None:
                self.codes.append(process.wait())
                self.ready.clear()
                if not self.manager.restarts(self.codes[-1]):
                    return
                self.cancelled.wait(self.manager.restart_after)
        finally:
            self._begun.set()
            self.over.set()

    def _spawn(self) -> subprocess.Popen[bytes] | None:
        with self._lock, open(self.log, "ab") as log:
            if self.cancelled.is_set():
                return None
            self.process = subprocess.Popen(
                self.argv,
                env=self.env,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            self._begun.set()
            return self.process

    @property
    def pid(self) -> int | None:
        """The pid of the process that lives."""
        process = self.process
        return process.pid if process is not None and process.returncode is None else None

    def end(self) -> None:
        """End it as a manager does, and wait."""
        with self._lock:
            self.cancelled.set()
            process = self.process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        assert self.over.wait(DEADLINE)
        self._thread.join(DEADLINE)


class StandIn:
    """What both have in common: programs that pass on, and one lock around what they ask."""

    programs: tuple[str, ...] = ()

    def __init__(self, folder: Path, home: Path) -> None:
        self.home = home
        self.bin = folder / "bin"
        self.bin.mkdir()
        # The path of a Unix socket must be short.
        self.short = tempfile.mkdtemp(prefix="atlas")
        address = os.path.join(self.short, "s")
        for name in self.programs:
            path = self.bin / name
            path.write_text(_PROGRAM.format(python=sys.executable, address=address))
            path.chmod(0o755)
        self.asked: list[list[str]] = []
        self.lock = threading.RLock()
        self.restart_after = 0.05
        manager = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                argv: list[str] = json.loads(self.rfile.readline())
                manager.asked.append(argv)
                self.wfile.write(json.dumps(manager.answer(argv)).encode() + b"\n")

        self._server = socketserver.ThreadingUnixStreamServer(address, Handler)
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def answer(self, argv: Sequence[str]) -> Answer:
        """Do what a program was asked."""
        raise NotImplementedError

    def restarts(self, code: int) -> bool:
        """Tell whether a job that has ended so is started again."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Return what every program has after a login."""
        return {"HOME": str(self.home), "USER": "atlas", "LOGNAME": "atlas", "SHELL": "/bin/sh"}

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(DEADLINE)
        shutil.rmtree(self.short)


# systemd -------------------------------------------------------------------------------------


class Systemd(StandIn):
    """The user's systemd, and systemctl. `watchdog` in seconds takes the place of the unit's."""

    programs: tuple[str, ...] = ("systemctl",)

    def __init__(self, folder: Path, home: Path) -> None:
        self.units: dict[str, dict[str, list[str]]] = {}
        self.jobs: dict[str, Job] = {}
        self.messages: list[list[str]] = []
        self.watchdog = 0.0
        self.bus = True
        self._fed = threading.Event()
        self._closed = False
        super().__init__(folder, home)
        self._ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ear.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
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
        (line,), (log,) = unit["ExecStart"], unit["StandardOutput"]
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
        return Job(argv, env, log.removeprefix("append:").replace("%%", "%"), self)

    def restarts(self, code: int) -> bool:
        return code not in (0, -signal.SIGTERM)  # RestartPreventExitStatus=0

    def _listen(self) -> None:
        while not self._closed:
            data, ancillary, _, _ = self._ear.recvmsg(4096, socket.CMSG_SPACE(12))
            (sender,) = (
                struct.unpack("3i", content)[0]
                for _, kind, content in ancillary
                if kind == socket.SCM_CREDENTIALS
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
        while not self._closed:
            fed = self._fed.wait(self.watchdog or 0.05)
            self._fed.clear()
            for job in list(self.jobs.values()):
                if not fed and self.watchdog and job.ready.is_set() and job.pid:
                    os.kill(job.pid, signal.SIGKILL)

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


# launchd -------------------------------------------------------------------------------------


class Launchd(StandIn):
    """launchd's domain of one user, and launchctl, with what people have met of both."""

    programs: tuple[str, ...] = ("launchctl",)

    def __init__(self, folder: Path, home: Path) -> None:
        self.domain = f"gui/{os.getuid()}"
        self.logged_in = True
        self.disabled: set[str] = set()
        self.locked: set[str] = set()
        """Switched off in System Settings: `enable` does not help."""
        self.refusals: list[int] = []
        """Codes with which the next attempts to bootstrap fail."""
        self.leaves_after = 0
        """Looks until what was booted out is gone."""
        self._leaving: dict[str, int] = {}
        self._loaded: dict[str, tuple[dict[str, Any], Job | None]] = {}
        super().__init__(folder, home)

    def answer(self, argv: Sequence[str]) -> Answer:
        with self.lock:
            return self._answer(argv)

    def _answer(self, argv: Sequence[str]) -> Answer:
        verb, target, *rest = argv[1:]
        label = target.removeprefix(f"{self.domain}/")
        if not self.logged_in and verb in ("print", "bootstrap", "kickstart"):
            text = f"Could not find domain for {target}\n"
            return 125, "", f"Bootstrap failed: 125: {text}" if verb == "bootstrap" else text
        match verb:
            case "print" if target == self.domain:
                return 0, f"{self.domain} = {{\n\ttype = login\n}}\n", ""
            case "print":
                return self._print(label)
            case "print-disabled":
                off = "".join(f'\t\t"{each}" => disabled\n' for each in sorted(self.disabled))
                return 0, f"\tdisabled services = {{\n{off}\t}}\n", ""
            case "enable":
                self.disabled -= {label} - self.locked
                return 0, "", ""
            case "bootstrap":
                return self._bootstrap(rest[0])
            case "bootout":
                return self._bootout(label)
            case "kickstart":
                told, job = self._loaded[label]
                if job is None or job.over.is_set():
                    self._loaded[label] = (told, self._begin(told))
                return 0, "", ""
            case _:
                raise AssertionError(argv)

    def _print(self, label: str) -> Answer:
        if label in self._leaving:
            self._leaving[label] -= 1
            if self._leaving[label] < 0:
                del self._leaving[label], self._loaded[label]
        if label not in self._loaded:
            return 113, "", f'Could not find service "{label}" in domain for login\n'
        job = self._loaded[label][1]
        pid = None if job is None else job.pid
        state = f"running\n\tpid = {pid}" if pid else "not running"
        return 0, f"{self.domain}/{label} = {{\n\tstate = {state}\n\truns = 1\n}}\n", ""

    def _bootstrap(self, path: str) -> Answer:
        told = plistlib.loads(Path(path).read_bytes())
        label = told["Label"]
        code = self.refusals.pop(0) if self.refusals else 0
        if label in self._loaded or label in self.disabled:
            code = 5
        if code:
            words = {5: "Input/output error", 37: "Operation already in progress"}
            return code, "", f"Bootstrap failed: {code}: {words.get(code, 'Unknown error')}\n"
        self._loaded[label] = (told, self._begin(told) if told["RunAtLoad"] else None)
        return 0, "", ""

    def _bootout(self, label: str) -> Answer:
        if label not in self._loaded:
            return 3, "", "Boot-out failed: 3: No such process\n"
        self._leaving[label] = self.leaves_after
        job = self._loaded[label][1]
        if job is not None:
            job.end()
        return 0, "", ""

    def _begin(self, told: Mapping[str, Any]) -> Job:
        assert told["KeepAlive"] == {"SuccessfulExit": False}
        assert told["StandardOutPath"] == told["StandardErrorPath"]
        env = {**self.environment(), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}
        env |= told["EnvironmentVariables"] | {"XPC_SERVICE_NAME": told["Label"]}
        return Job(told["ProgramArguments"], env, told["StandardOutPath"], self)

    def restarts(self, code: int) -> bool:
        return code != 0

    def pid(self) -> int | None:
        """Return the pid of the only agent."""
        jobs = self.jobs()
        return jobs[0].pid if jobs else None

    def jobs(self) -> list[Job]:
        """Return what was started of the agents that are loaded."""
        return [job for _, job in self._loaded.values() if job is not None]

    def is_loaded(self) -> bool:
        """Tell whether there is an agent that is not on its way out."""
        return bool(self._loaded.keys() - self._leaving.keys())

    def close(self) -> None:
        for _, job in self._loaded.values():
            if job is not None:
                job.end()
        super().close()
