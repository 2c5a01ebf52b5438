"""Whether this system starts by itself when the user logs in, and whether that works."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from supervisor.cli.checks import launchd, systemd
from supervisor.cli.checks.startup import Start, split
from supervisor.cli.findings import OURS, Finding
from supervisor.cli.wording import listing
from supervisor.install.manager import Run
from supervisor.install.systemctl import LINGER, lingers

CHECK: Final = "login item"


@dataclass(frozen=True, slots=True)
class Starters:
    """All that could start something by itself for this user."""

    agents: tuple[launchd.Agent, ...] = ()
    units: tuple[systemd.Unit, ...] = ()
    crontab: tuple[Start, ...] = ()

    def starts(self) -> Iterator[Start]:
        """Yield every command that is started by itself."""
        yield from (agent.start for agent in self.agents)
        yield from (unit.start for unit in self.units)
        yield from self.crontab


def starters(system: str, environ: Mapping[str, str], ask: Run) -> Starters:
    """Return what there is; `system` is as sys.platform has it."""
    home = environ.get("HOME", "/")
    crontab = tuple(crontab_lines(ask, home))
    if system == "darwin":
        folders = (os.path.join(home, "Library", "LaunchAgents"), "/Library/LaunchAgents")
        return Starters(agents=tuple(launchd.agents(folders)), crontab=crontab)
    config = environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    folders = (os.path.join(config, "systemd", "user"), "/etc/systemd/user")
    return Starters(units=tuple(systemd.units(folders, home)), crontab=crontab)


def crontab_lines(ask: Run, home: str) -> Iterator[Start]:
    """Yield the commands of the user's crontab, with when they are started left out."""
    answer = ask(("crontab", "-l"))
    if not answer.ok:
        return
    environ: dict[str, str] = {}
    for line in answer.text.splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        name, equals, value = line.strip().partition("=")
        if equals and name.strip().isidentifier():
            environ[name.strip()] = value.strip().strip("\"'")
            continue
        when = 1 if words[0].startswith("@") else 5
        command = line.split(None, when)[when:]
        if command:
            yield Start(tuple(split(command[0])), f"crontab ({words[0]})", dict(environ), home)


def login_item(
    found: Starters, config: str, uid: int, ask: Run, linger: str = LINGER
) -> Iterator[Finding]:
    """Yield how this system is started at login, and what is wrong with that."""
    agents = [agent for agent in found.agents if agent.start.starts(config)]
    units = [unit for unit in found.units if unit.start.starts(config)]
    lines = [line for line in found.crontab if line.starts(config)]
    for agent in agents:
        yield from launchd.judge(agent, uid, ask)
    for unit in units:
        yield from systemd.judge(unit, stays=lingers(uid, linger))
    for line in lines:
        yield Finding(OURS, CHECK, "ok", f"{line.where} starts it")
    names = [agent.label for agent in agents] + [unit.name for unit in units]
    names += [line.where for line in lines]
    if len(names) > 1:
        text = f"{listing(names)} all start it, which one of them would do"
        yield Finding(OURS, CHECK, "note", text, "keep one of them")
    if not names:
        hint = "if it shall: atlasctl install"
        yield Finding(OURS, CHECK, "note", "it does not start at login", hint)
