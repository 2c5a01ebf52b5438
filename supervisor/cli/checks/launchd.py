"""Launch agents of macOS, as their property lists and launchctl(1) tell of them."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from supervisor.cli.checks.startup import Start, gone
from supervisor.cli.findings import OURS, Finding
from supervisor.config.files import read_regular
from supervisor.install.launchctl import PROGRAM, is_disabled
from supervisor.install.manager import Run

CHECK: Final = "login item"
_MOST: Final = 1024 * 1024
"""Bytes of a property list; more is none of a launch agent."""
_UNHURRIED: Final = frozenset({"Interactive", "Adaptive"})
_FAILED: Final = re.compile(r"^\s*last exit code = ([1-9].*)$", re.MULTILINE)
_PID: Final = re.compile(r"^\s*pid = [0-9]+$", re.MULTILINE)
_SPAWN: Final = re.compile(r"^\s*spawn type = (\w+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Agent:
    """One launch agent."""

    start: Start
    label: str
    process_type: str
    resurrects: bool
    """It is started again also where it has ended in order."""
    at_login: bool
    """It is started when it is loaded, not only when something asks for it."""
    disabled: bool


def agents(folders: Sequence[str]) -> list[Agent]:
    """Return the launch agents of these folders; what cannot be read as one is passed over."""
    found = []
    for folder in folders:
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        for name in names:
            if name.endswith(".plist"):
                agent = _read(os.path.join(folder, name))
                if agent is not None:
                    found.append(agent)
    return found


def _read(path: str) -> Agent | None:
    import plistlib

    try:
        told = plistlib.loads(read_regular(path, _MOST))
        argv = tuple(str(word) for word in told.get("ProgramArguments", ()))
        program = told.get("Program")
        if program:
            argv = (str(program), *argv[1:])
        environ = {str(k): str(v) for k, v in told.get("EnvironmentVariables", {}).items()}
        cwd = str(told.get("WorkingDirectory", "/"))
    except Exception:  # noqa: BLE001 - plistlib raises what expat, struct and others raise
        return None
    keep = told.get("KeepAlive", False)
    return Agent(
        start=Start(argv, path, environ, cwd),
        label=str(told.get("Label", "")),
        process_type=str(told.get("ProcessType", "Standard")),
        resurrects=keep is True or (isinstance(keep, dict) and keep.get("SuccessfulExit") is True),
        at_login=bool(told.get("RunAtLoad")) or bool(keep),
        disabled=told.get("Disabled") is True,
    )


def judge(agent: Agent, uid: int, ask: Run) -> Iterator[Finding]:
    """Yield how a launch agent that starts this system is made, and whether it is in force."""
    path, domain = agent.start.where, f"gui/{uid}"
    target = f"{domain}/{agent.label}"
    reload = f"then: launchctl bootout {target}; launchctl bootstrap {domain} {path}"
    if why := gone(agent.start.argv):
        hint = f"atlasctl install, or correct ProgramArguments in {path}, {reload}"
        yield Finding(OURS, CHECK, "wrong", f"{agent.label}: {why}", hint)
        return
    if not agent.at_login:
        hint = f"set RunAtLoad to true in {path}, {reload}"
        yield Finding(OURS, CHECK, "note", f"{agent.label} does not start at login", hint)
    if agent.process_type not in _UNHURRIED:
        text = (
            f"{agent.label} is of ProcessType {agent.process_type}: macOS gives all that it "
            "starts less processor and disk, and speech takes much longer"
        )
        yield Finding(OURS, CHECK, "note", text, f"set it to Interactive in {path}, {reload}")
    if agent.resurrects:
        text = f"{agent.label} has KeepAlive: after `atlasctl down` launchd starts all again"
        hint = f"set KeepAlive to {{SuccessfulExit: false}} in {path}, {reload}"
        yield Finding(OURS, CHECK, "note", text, hint)
    yield from _in_force(agent, domain, path, ask)


def _in_force(agent: Agent, domain: str, path: str, ask: Run) -> Iterator[Finding]:
    target = f"{domain}/{agent.label}"
    told = ask((PROGRAM, "print-disabled", domain))
    if told.code is None:
        text = f"{agent.label} is there; launchctl does not say whether it is loaded"
        yield Finding(OURS, CHECK, "note", text, f"see: launchctl print {target}")
        return
    # What `enable` and `disable` have said is kept apart, and wins over the property list.
    said = is_disabled(told, agent.label)
    if said or (said is None and agent.disabled):
        text = f"{agent.label} is switched off, and is not started at login"
        hint = f"launchctl enable {target}, or Login Items in System Settings"
        yield Finding(OURS, CHECK, "note", text, hint)
        return
    loaded = ask((PROGRAM, "print", target))
    if not loaded.ok:
        text = f"{agent.label} is not loaded now, and takes hold at the next login"
        yield Finding(OURS, CHECK, "note", text, f"launchctl bootstrap {domain} {path}")
        return
    spawn = _SPAWN.search(loaded.text)
    if spawn and agent.process_type in _UNHURRIED and spawn[1] not in ("interactive", "adaptive"):
        text = f"{agent.label} is loaded as {spawn[1]}, from before its file was changed"
        hint = f"launchctl bootout {target}; launchctl bootstrap {domain} {path}"
        yield Finding(OURS, CHECK, "note", text, hint)
        return
    failed = _FAILED.search(loaded.text)
    if failed and not _PID.search(loaded.text):
        text = f"{agent.label} does not stay up: launchd says exit code {failed[1]}"
        yield Finding(
            OURS, CHECK, "wrong", text, f"where its last words are: launchctl print {target}"
        )
        return
    yield Finding(OURS, CHECK, "ok", f"{agent.label} starts it at login, and is loaded")
