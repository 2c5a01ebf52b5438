"""supervisord and circus, each in a virtual environment of its own, and the bare loop."""

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.atlasctl import numbered_files
from benchmarks.peers.layout import LOG_FILE_SIZE, LOG_FILES, STOP_TIMEOUT, Job, Layout
from benchmarks.peers.versions import said

CHILDREN = Path(__file__).parents[1] / "children"


def install(package: str, cache: str) -> None:
    """Put a package from PyPI into an environment of its own. Raises CalledProcessError."""
    folder = f"{cache}/venv-{package}"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([f"{folder}/bin/pip", "install", "--quiet", package], check=True)


@dataclass(frozen=True, slots=True)
class Supervisord:
    """supervisord."""

    cache: str
    name: str = "supervisord"

    @property
    def caveats(self) -> tuple[str, ...]:
        """Return what its configuration cannot do."""
        return (
            "startsecs=0, so no back-off; it looks for dead services once a round of its loop, "
            "which lasts up to a second, and that cannot be configured",
            "stopasgroup and killasgroup are on",
        )

    @property
    def _bin(self) -> str:
        return f"{self.cache}/venv-supervisor/bin"

    def missing(self) -> str | None:
        """Return how to install it."""
        return None if os.path.exists(f"{self._bin}/supervisord") else "--install, or pip"

    def version(self) -> str:
        """Return its version."""
        return said([f"{self._bin}/supervisord", "--version"])

    def lay_out(self, job: Job) -> Layout:
        """Write supervisord.conf."""
        socket = f"{job.root}/s.sock"
        lines = [
            "[unix_http_server]",
            f"file={socket}",
            "[supervisord]",
            "nodaemon=true",
            "user=root" if os.geteuid() == 0 else "",
            "logfile=/dev/null",
            "logfile_maxbytes=0",
            f"pidfile={job.root}/s.pid",
            "minfds=8192",
            "[rpcinterface:supervisor]",
            "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
            "[supervisorctl]",
            f"serverurl=unix://{socket}",
        ]
        for service in job.services:
            log = f"{job.root}/{service.name}.log" if job.logged else "NONE"
            lines += [
                f"[program:{service.name}]",
                f"command={shlex.join(service.argv).replace('%', '%%')}",
                "autorestart=true",
                "startsecs=0",
                "startretries=1000000",
                f"stopwaitsecs={STOP_TIMEOUT}",
                "stopasgroup=true",
                "killasgroup=true",
                "redirect_stderr=true",
                f"stdout_logfile={log}",
                f"stdout_logfile_maxbytes={LOG_FILE_SIZE}",
                f"stdout_logfile_backups={LOG_FILES}",
            ]
        config = f"{job.root}/supervisord.conf"
        Path(config).write_text("\n".join(lines) + "\n")
        control = [f"{self._bin}/supervisorctl", "-c", config]
        return Layout(
            start=[f"{self._bin}/supervisord", "-c", config],
            status=[*control, "status"],
            stop=lambda name: [*control, "stop", name],
            logs=lambda name: numbered_files(job.root, f"{name}.log"),
        )


@dataclass(frozen=True, slots=True)
class Circus:
    """circusd."""

    cache: str
    name: str = "circus"

    @property
    def caveats(self) -> tuple[str, ...]:
        """Return what its configuration cannot do."""
        return (
            "it takes no SIGCHLD and polls: check_delay is 0.1 s where restarts are measured, and "
            "its default, 5 s, where it idles",
            "stop_children is on",
        )

    @property
    def _bin(self) -> str:
        return f"{self.cache}/venv-circus/bin"

    def missing(self) -> str | None:
        """Return how to install it."""
        return None if os.path.exists(f"{self._bin}/circusd") else "--install, or pip"

    def version(self) -> str:
        """Return its version."""
        return said([f"{self._bin}/circusd", "--version"])

    def lay_out(self, job: Job) -> Layout:
        """Write circus.ini."""
        endpoint = f"ipc://{job.root}/c.sock"
        lines = [
            "[circus]",
            f"endpoint = {endpoint}",
            f"pubsub_endpoint = ipc://{job.root}/p.sock",
            f"check_delay = {0.1 if job.hurried else 5}",
            "statsd = False",
        ]
        for service in job.services:
            lines += [
                f"[watcher:{service.name}]",
                f"cmd = {service.argv[0]}",
                f"args = {shlex.join(service.argv[1:])}",
                "copy_env = True",
                "max_retry = -1",
                "warmup_delay = 0",
                f"graceful_timeout = {STOP_TIMEOUT}",
                "stop_children = True",
            ]
            if job.logged:
                for stream in ("stdout", "stderr"):
                    lines += [
                        f"{stream}_stream.class = FileStream",
                        f"{stream}_stream.filename = {job.root}/{service.name}.{stream}.log",
                        f"{stream}_stream.max_bytes = {LOG_FILE_SIZE}",
                        f"{stream}_stream.backup_count = {LOG_FILES}",
                    ]
        config = f"{job.root}/circus.ini"
        Path(config).write_text("\n".join(lines) + "\n")
        control = [f"{self._bin}/circusctl", "--endpoint", endpoint, "--timeout", "30"]
        return Layout(
            start=[f"{self._bin}/circusd", config],
            status=[*control, "status"],
            stop=lambda name: [*control, "stop", name, "--waiting"],
            down=[*control, "quit", "--waiting"],
            logs=lambda name: numbered_files(job.root, f"{name}.stdout.log"),
        )


@dataclass(frozen=True, slots=True)
class BareLoop:
    """posix_spawn and waitpid in Python: the limit, no supervisor."""

    name: str = "bare loop"

    @property
    def caveats(self) -> tuple[str, ...]:
        """Return what it is."""
        return ("posix_spawn and waitpid in Python and nothing else: the limit, not a peer",)

    def missing(self) -> str | None:
        """Return None: it is always there."""
        return None

    def version(self) -> str:
        """Return the version of Python."""
        return f"Python {sys.version.split()[0]}"

    def lay_out(self, job: Job) -> Layout:
        """Write the commands."""
        commands = f"{job.root}/commands.json"
        Path(commands).write_text(json.dumps([service.argv for service in job.services]))
        return Layout(
            start=[sys.executable, "-I", "-S", str(CHILDREN / "bare_loop.py"), commands],
            down_signal=9,
        )
