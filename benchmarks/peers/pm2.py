"""pm2, installed by npm into the cache folder."""

import json
import os
import shutil
from dataclasses import dataclass

from benchmarks.peers.layout import STOP_TIMEOUT, Job, Layout
from benchmarks.peers.versions import said


@dataclass(frozen=True, slots=True)
class Pm2:
    """pm2."""

    cache: str
    name: str = "pm2"

    @property
    def caveats(self) -> tuple[str, ...]:
        """Return what its configuration cannot do."""
        return (
            "fork mode, min_uptime 0, so no unstable restarts are counted; treekill is on (its "
            "default)",
            "it does not rotate logs itself (pm2-logrotate is another process that copies and "
            "truncates), so its log figures are without rotation",
        )

    @property
    def _script(self) -> str:
        return f"{self.cache}/pm2/node_modules/pm2/bin/pm2"

    def missing(self) -> str | None:
        """Return how to install it."""
        if shutil.which("node") is None:
            return f"Node.js; then: npm install --prefix {self.cache}/pm2 pm2"
        if not os.path.exists(self._script):
            return f"npm install --prefix {self.cache}/pm2 pm2"
        return None

    def version(self) -> str:
        """Return its version, which asking itself would start a daemon for."""
        with open(f"{self.cache}/pm2/node_modules/pm2/package.json") as file:
            return f"{json.load(file)['version']}, node {said(['node', '--version'])}"

    def lay_out(self, job: Job) -> Layout:
        """Write the ecosystem file."""
        apps = [
            {
                "name": service.name,
                "script": service.argv[0],
                "args": list(service.argv[1:]),
                "cwd": job.root,
                "interpreter": "none",
                "exec_mode": "fork",
                "autorestart": True,
                "min_uptime": 0,
                "max_restarts": 1_000_000_000,
                "restart_delay": 0,
                "kill_timeout": STOP_TIMEOUT * 1000,
                "vizion": False,
                "pmx": False,
                "automation": False,
                "merge_logs": True,
                "out_file": f"{job.root}/{service.name}.log" if job.logged else "/dev/null",
                "error_file": f"{job.root}/{service.name}.err" if job.logged else "/dev/null",
            }
            for service in job.services
        ]
        config = f"{job.root}/ecosystem.json"
        with open(config, "w") as file:
            json.dump({"apps": apps}, file)
        command = [shutil.which("node") or "node", self._script]
        return Layout(
            start=[*command, "start", config],
            env={"PM2_HOME": f"{job.root}/pm2", "PM2_DISCRETE_MODE": "true"},
            daemonises=True,
            status=[*command, "list"],
            stop=lambda name: [*command, "stop", name],
            down=[*command, "kill"],
            logs=lambda name: [f"{job.root}/{name}.log"],
        )
