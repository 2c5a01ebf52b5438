"""User units of systemd, as their files tell of them; no bus and no systemctl is asked."""

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from supervisor.cli.checks.startup import Start, gone, split
from supervisor.cli.findings import OURS, Finding
from supervisor.config.files import read_regular

CHECK: Final = "login item"
_MOST: Final = 1024 * 1024
_PREFIXES: Final = "@-:+!|"
"""What may stand before the program in ExecStart= (systemd.service(5))."""
_SPARING: Final = frozenset({"process", "none"})


@dataclass(frozen=True, slots=True)
class Unit:
    """One service unit."""

    start: Start
    name: str
    kill_mode: str
    enabled: bool
    """A target wants it."""


def units(folders: Sequence[str], home: str) -> list[Unit]:
    """Return the service units of these folders; what cannot be read is passed over."""
    found = []
    for folder in folders:
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        wanted = {
            link
            for target in names
            if target.endswith((".wants", ".requires"))
            for link in _names(os.path.join(folder, target))
        }
        for name in names:
            path = os.path.join(folder, name)
            if name.endswith(".service") and os.path.isfile(path):
                unit = _read(path, name, home, enabled=name in wanted)
                if unit is not None:
                    found.append(unit)
    return found


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _read(path: str, name: str, home: str, *, enabled: bool) -> Unit | None:
    try:
        text = read_regular(path, _MOST).decode("utf-8", "replace")
    except OSError:
        return None
    keys = _service_keys(text)
    lines = keys.get("ExecStart", [])
    argv = _argv(_expanded(lines[-1], home)) if lines else []
    environ = dict(
        word.partition("=")[::2] for line in keys.get("Environment", []) for word in split(line)
    )
    cwd = keys.get("WorkingDirectory", [home])[-1].lstrip("-")
    return Unit(
        start=Start(tuple(argv), path, environ, home if cwd == "~" else _expanded(cwd, home)),
        name=name,
        kill_mode=keys.get("KillMode", ["control-group"])[-1],
        enabled=enabled,
    )


def _expanded(text: str, home: str) -> str:
    """Return text with the specifiers put in that are to be expected: `%h`, and `%%` for `%`."""
    return re.sub("%([%h])", lambda found: home if found[1] == "h" else "%", text)


def _argv(line: str) -> list[str]:
    command = line.lstrip(_PREFIXES)
    try:
        program, *arguments = shlex.split(command)
    except ValueError:
        program, *arguments = [*command.split(), ""]
    words = [program, *(argument.replace("$$", "$") for argument in arguments)]
    if "@" in line.removesuffix(command):
        del words[1:2]  # what the program is to see as its own name
    return words


def _service_keys(text: str) -> dict[str, list[str]]:
    """Return what is set in [Service]; an empty value forgets those before it."""
    keys: dict[str, list[str]] = {}
    section = ""
    for line in text.replace("\\\n", " ").splitlines():
        bare = line.strip()
        if bare.startswith("["):
            section = bare
        elif section == "[Service]" and "=" in bare and not bare.startswith(("#", ";")):
            key, _, value = (part.strip() for part in bare.partition("="))
            keys[key] = [*keys.get(key, []), value] if value else []
    return {key: values for key, values in keys.items() if values}


def judge(unit: Unit, *, stays: bool) -> Iterator[Finding]:
    """Yield how a unit that starts this system is made, and whether it is in force.

    `stays`: this user's units run without a login too.
    """
    path = unit.start.where
    again = "then: systemctl --user daemon-reload"
    if why := gone(unit.start.argv):
        hint = f"atlasctl install, or correct ExecStart in {path}, {again}"
        yield Finding(OURS, CHECK, "wrong", f"{unit.name}: {why}", hint)
        return
    if unit.kill_mode not in _SPARING:
        # `mixed` spares them the SIGTERM and not the SIGKILL that comes after it.
        text = (
            f"{unit.name} has KillMode={unit.kill_mode}: should the supervisor be killed, systemd "
            "kills every service with it"
        )
        yield Finding(OURS, CHECK, "note", text, f"KillMode=process in {path}, {again}")
    if not unit.enabled:
        text = f"{unit.name} is there and not enabled: it does not start at login"
        yield Finding(OURS, CHECK, "note", text, f"systemctl --user enable {unit.name}")
        return
    if not stays:
        text = f"{unit.name} starts it at login, and all ends when you log out"
        yield Finding(
            OURS, CHECK, "note", text, "to start at boot and stay: loginctl enable-linger"
        )
        return
    yield Finding(OURS, CHECK, "ok", f"{unit.name} starts it at boot, login or not")
