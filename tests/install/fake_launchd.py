"""A stand-in for launchd, with what people have met of it and of launchctl."""

import os
import plistlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.install.stand_in import Answer, Job, StandIn


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
        self.spawns_nothing = False
        """As where it may not read the program, or its folder is not there."""
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
            case "kickstart" if label in self._leaving:
                return 37, "", "Could not kickstart service: 37: Operation already in progress\n"
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
        if job is not None and job.codes:
            state += f"\n\tlast exit code = {job.codes[-1]}"
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
        log = Path(told["StandardOutPath"])
        log.parent.mkdir(parents=True, exist_ok=True)
        argv = ["/bin/sh", "-c", "exit 78"] if self.spawns_nothing else told["ProgramArguments"]
        return Job(argv, env, str(log), self)

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
