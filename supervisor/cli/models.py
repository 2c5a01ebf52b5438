"""`models fetch|verify|list`: the files that services need and that are not in the repository."""

import json
import os
import sys
import time
from collections import deque
from dataclasses import asdict
from typing import assert_never

from supervisor.cli import wording
from supervisor.cli.connection import System, short_path
from supervisor.cli.exits import CommandError, ExitStatus, Interrupted
from supervisor.cli.invocation import Invocation
from supervisor.cli.model_lines import (
    Row,
    event_line,
    failure_line,
    finding,
    progress_line,
    state_word,
    table,
)
from supervisor.cli.services import check_names
from supervisor.cli.terminal import Canvas, is_terminal, warn
from supervisor.config.loader import load
from supervisor.config.problems import ConfigError
from supervisor.core.models import ModelSpec
from supervisor.core.spec import FleetSpec
from supervisor.models.condition import Begun, Missing, Present, Wrong, look
from supervisor.models.events import Event, Failed, Progress
from supervisor.models.failures import ModelError
from supervisor.models.lockfile import read_lock
from supervisor.models.manifest import Wanted, wanted_files

LOCK_NAME = "models.lock"
_REDRAW, _LINE_EVERY, _JSON_EVERY = 0.1, 10.0, 1.0
"""Seconds between two pictures, two lines where nothing can be drawn again, two JSON objects."""
_WINDOW = 5.0
"""Seconds over which the rate is taken."""


def models(call: Invocation) -> int:
    """Do with the models of the YAML what was asked."""
    system = call.system()
    fleet = load(system.config)
    names = (*call.models, *call.accept_changed)
    check_names(names, [spec.name for spec in fleet.models], "model")
    asked = tuple(s for s in fleet.models if not names or s.name in names)
    if not asked and not call.json:
        print(f"{short_path(system.config)} names no models (models:)")
        return ExitStatus.AS_ASKED
    if call.accept_changed and call.action != "fetch":
        raise CommandError(
            ExitStatus.USAGE,
            f"{call.action} accepts nothing",
            f"atlasctl models fetch --accept-changed {call.accept_changed[0]}",
        )
    try:
        match call.action:
            case "fetch":
                return _fetch(call, system, fleet, asked)
            case "verify":
                return _verify(call, system, asked)
            case "list":
                return _list(call, system, asked)
            case _:
                assert_never(call.action)
    except ModelError as error:  # of the lock file: no file can be judged without it
        raise CommandError(ExitStatus.NOT_REACHED, error.message, error.hint) from None


def model_names(call: Invocation) -> int:
    """Print the names of the models, one a line; nothing where they cannot be known."""
    try:
        names = [spec.name for spec in load(call.system().config).models]
    except ConfigError:
        names = []
    for name in names:
        print(name)
    return ExitStatus.AS_ASKED


def _lock_path(system: System) -> str:
    return os.path.join(os.path.dirname(system.config), LOCK_NAME)


def _fetch(call: Invocation, system: System, fleet: FleetSpec, asked: tuple[ModelSpec, ...]) -> int:
    # Only here: requests takes 0.1 s to import, and no other command needs it.
    from supervisor.models.copies import surroundings
    from supervisor.models.fetching import Errand, fetch

    view = _View(as_json=call.json)
    errand = Errand(
        config=system.config,
        lock=_lock_path(system),
        around=surroundings(fleet.root, os.getcwd(), os.environ),
        tell=view.tell,
        accept_changed=frozenset(call.accept_changed),
    )
    try:
        whole = fetch(asked, errand)
    except KeyboardInterrupt:
        raise Interrupted("what has come is kept; the same command goes on from there") from None
    finally:
        view.clear()
    if whole and not call.json:
        for spec in asked:
            files = wording.count(len(spec.files), "file")
            print(f"{spec.name}: all there, {files} in {short_path(spec.directory)}")
    return ExitStatus.AS_ASKED if whole else ExitStatus.NOT_REACHED


class _View:
    """Shows a fetch: a line drawn again on a terminal, a line now and then elsewhere, or JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self._json = as_json
        self._canvas = Canvas(sys.stdout) if is_terminal(sys.stdout) and not as_json else None
        self._every = _JSON_EVERY if as_json else _REDRAW if self._canvas else _LINE_EVERY
        self._file = ""
        self._shown_at = 0.0
        self._seen: deque[tuple[float, int]] = deque()

    def tell(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, Progress) and not self._is_due(event):
            return
        if self._json:
            told = {"event": type(event).__name__.lower(), **asdict(event)}
            print(json.dumps(told, ensure_ascii=False), flush=True)
        elif isinstance(event, Progress):
            line = progress_line(event, self._rate())
            if self._canvas is not None:
                self._canvas.draw([line])
            else:
                print(line, flush=True)
        elif isinstance(event, Failed):
            self.clear()
            sys.stdout.flush()
            warn(failure_line(event))
        else:
            self.clear()
            print(event_line(event, _seen_from_here(event)), flush=True)

    def clear(self) -> None:
        """Take away what was drawn."""
        if self._canvas is not None:
            self._canvas.clear()

    def _is_due(self, event: Progress) -> bool:
        now = time.monotonic()
        if self._file != event.name:
            self._file, self._shown_at = event.name, now
            self._seen.clear()
        if self._seen and event.done < self._seen[-1][1]:
            self._seen.clear()  # begun anew
        self._seen.append((now, event.done))
        while len(self._seen) > 2 and now - self._seen[0][0] > _WINDOW:
            self._seen.popleft()
        if now - self._shown_at < self._every and len(self._seen) > 1:
            return False
        self._shown_at = now
        # The first line of a file that comes at once would be noise in a log.
        return self._canvas is not None or self._json or len(self._seen) > 1 or event.resumed > 0

    def _rate(self) -> float | None:
        (began, first), (now, last) = self._seen[0], self._seen[-1]
        return (last - first) / (now - began) if now - began > 0.5 else None


def _seen_from_here(event: Event) -> str:
    path = getattr(event, "path", "")
    return short_path(path) if path else ""


def _wanted(system: System, asked: tuple[ModelSpec, ...]) -> list[Wanted]:
    lock = read_lock(_lock_path(system))
    yaml_name = os.path.basename(system.config)
    return [w for spec in asked for w in wanted_files(spec, lock, yaml_name, LOCK_NAME)]


def _verify(call: Invocation, system: System, asked: tuple[ModelSpec, ...]) -> int:
    rows = [(wanted, look(wanted, thorough=True)) for wanted in _wanted(system, asked)]
    right = True
    for wanted, found in rows:
        is_right, said = finding(wanted, found, short_path(wanted.path))
        right = right and is_right
        if call.json:
            continue
        if is_right:
            print(said, flush=True)
        else:
            warn(f"{wanted.model}, {said}")
    if call.json:
        _print_json(rows, ok=right)
    return ExitStatus.AS_ASKED if right else ExitStatus.NOT_REACHED


def _list(call: Invocation, system: System, asked: tuple[ModelSpec, ...]) -> int:
    rows = [(wanted, look(wanted, thorough=False)) for wanted in _wanted(system, asked)]
    if call.json:
        _print_json(rows, ok=all(isinstance(found, Present) for _, found in rows))
        return ExitStatus.AS_ASKED
    print("\n".join(table(rows, [short_path(w.path) for w, _ in rows], call.paint)))
    for wanted, found in rows:
        if isinstance(found, Wrong):
            print(f"why: {finding(wanted, found, short_path(wanted.path))[1]}")
    if any(isinstance(found, Missing | Begun) for _, found in rows):
        print("To bring here what is missing: atlasctl models fetch")
    return ExitStatus.AS_ASKED


def _print_json(rows: list[Row], *, ok: bool) -> None:
    files = [
        {
            "model": wanted.model,
            "name": wanted.name,
            "url": wanted.url,
            "path": wanted.path,
            "state": state_word(found),
            **asdict(found),
            "recorded": wanted.sha256 is not None,
        }
        for wanted, found in rows
    ]
    print(json.dumps({"ok": ok, "files": files}, ensure_ascii=False, indent=2))
