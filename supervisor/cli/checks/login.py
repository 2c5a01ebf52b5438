"""Whether this system starts by itself when the user logs in, and whether that works."""

import os
import shlex
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
_GONE: Final = "which is not there any more"


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


def out_of_reach(folder: str) -> tuple[str, str]:
    """Return what is wrong with a system in a folder that macOS guards, and what to do."""
    return (
        f"macOS may keep what starts at login out of {folder}",
        "move the system to another folder, or allow its python Full Disk Access in System "
        "Settings, Privacy & Security",
    )


def forsaken(start: Start) -> str | None:
    """Return the YAML file that a command starts and that is not there: its folder has moved."""
    config = start.config()
    return config if config is not None and not os.path.exists(config) else None


def login_item(
    found: Starters, config: str, uid: int, ask: Run, linger: str = LINGER
) -> Iterator[Finding]:
    """Yield how this system is started at login, and what is wrong with that."""
    for agent in found.agents:
        if gone := forsaken(agent.start):
            target = f"gui/{uid}/{agent.label}"
            hint = f"launchctl bootout {target}; rm {shlex.quote(agent.start.where)}"
            yield Finding(OURS, CHECK, "note", f"{agent.label} starts {gone}, {_GONE}", hint)
    for unit in found.units:
        if gone := forsaken(unit.start):
            path = shlex.quote(unit.start.where)
            hint = f"systemctl --user disable --now {unit.name}; rm {path}"
            yield Finding(OURS, CHECK, "note", f"{unit.name} starts {gone}, {_GONE}", hint)
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
