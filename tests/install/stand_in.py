"""What the stand-ins for launchd and for a user's systemd have in common.

They run the real daemon, as the real files say, in the environment of a login; restart it, watch
over it, and are awkward in the ways that the real ones are. The state is here, in the test's own
process; the programs on PATH only pass on what they were asked.
"""

import contextlib
import json
import os
import shutil
import signal
import socketserver
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

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
        self.on_asked: Callable[[Sequence[str]], None] = lambda _: None
        """Called before it is done."""
        manager = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                argv: list[str] = json.loads(self.rfile.readline())
                manager.asked.append(argv)
                manager.on_asked(argv)
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
