"""atlasctl, from a checkout: a black box behind its command line."""

import json
import os
import re
import sys
from dataclasses import dataclass

from benchmarks.peers.layout import LOG_FILE_SIZE, LOG_FILES, STOP_TIMEOUT, Job, Layout
from benchmarks.peers.versions import said


@dataclass(frozen=True, slots=True)
class Atlasctl:
    """One checkout of atlasctl; several can be measured against each other."""

    name: str
    code: str
    """The folder that holds `supervisor/`."""

    @property
    def caveats(self) -> tuple[str, ...]:
        """Return what its configuration leaves out."""
        return ("restart.backoff.first is 0; logs.compress is false, since no peer compresses",)

    def missing(self) -> str | None:
        """Return what is wrong with the checkout."""
        if not os.path.isdir(f"{self.code}/supervisor"):
            return f"there is no supervisor/ in {self.code}: give --code the folder of a checkout"
        return None

    def version(self) -> str:
        """Return its version and, where git knows it, the commit."""
        with open(f"{self.code}/supervisor/__init__.py") as file:
            found = re.search(r'__version__ = "([^"]+)"', file.read())
        commit = said(["git", "-C", self.code, "describe", "--always", "--dirty"])
        return f"{found.group(1) if found else '?'} {commit}".strip()

    def lay_out(self, job: Job) -> Layout:
        """Write the YAML; most of it as JSON, which is YAML too and needs no library."""
        services: dict[str, object] = {}
        for service in job.services:
            services[service.name] = {
                "command": list(service.argv),
                "restart": {
                    "backoff": {"first": "0s"},
                    "give_up": {"after": 10_000, "within": "1s"},
                },
                "stop": {"timeout": f"{STOP_TIMEOUT}s"},
                "logs": {"max_size": f"{LOG_FILE_SIZE}B", "keep": LOG_FILES, "compress": False},
                **({"ports": [service.port]} if service.port else {}),
            }
        config = f"{job.root}/services.yaml"
        with open(config, "w") as file:
            file.write(f"version: 1\nroot: .\nservices: {json.dumps(services)}\n")
        command = [sys.executable, "-P", "-m", "supervisor.cli", "-c", config]
        return Layout(
            start=[*command, "up"],
            env={"PYTHONPATH": self.code},
            daemonises=True,
            status=[*command, "status"],
            stop=lambda name: [*command, "stop", name],
            down=[*command, "down"],
            logs=lambda name: numbered_files(f"{job.root}/logs", f"{name}.log"),
            remark=b"--- atlasctl ",
        )


def numbered_files(folder: str, name: str) -> list[str]:
    """Return `name.2`, `name.1`, `name`: as far as they exist, oldest first."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    older = [n for n in names if n.startswith(f"{name}.") and n[len(name) + 1 :].isdigit()]
    older.sort(key=lambda n: int(n[len(name) + 1 :]), reverse=True)
    return [f"{folder}/{n}" for n in [*older, *([name] if name in names else [])]]
