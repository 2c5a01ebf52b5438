"""What `models` says: the way of a download, what became of each file, and the table. Pure."""

from collections.abc import Sequence
from typing import assert_never

from supervisor.cli import wording
from supervisor.cli.terminal import Paint, columns, printable
from supervisor.models.condition import Begun, Condition, Missing, Present, Wrong
from supervisor.models.events import (
    Adopted,
    Already,
    Event,
    Failed,
    Fetched,
    Linked,
    Progress,
    Replacing,
    Retrying,
)
from supervisor.models.manifest import Wanted


def state_word(condition: Condition) -> str:
    """Return the one word for how a file is."""
    match condition:
        case Present():
            return "present"
        case Missing():
            return "missing"
        case Begun():
            return "part"
        case Wrong():
            return "wrong"
        case _:
            assert_never(condition)


_COLORS = {"present": "green", "missing": "yellow", "part": "yellow", "wrong": "red"}


def progress_line(event: Progress, rate: float | None) -> str:
    """Return how far a file is; `rate` in bytes a second, None while it is not known."""
    line = f"{printable(event.name)}: {wording.size(event.done)}"
    if event.total:
        share = int(100 * event.done / event.total)
        line += f" of {wording.size(event.total)} ({share} %)"
    if rate is not None and rate >= 1:
        line += f", {wording.size(int(rate))}/s"
        if event.total:
            line += f", {wording.age((event.total - event.done) / rate)} left"
    return line


def event_line(event: Event, where: str) -> str:
    """Return the line for anything but Progress and Failed; `where` is the path as people see it.

    Raises AssertionError for those two.
    """
    name = printable(event.name)
    match event:
        case Already(size=size):
            return f"{name}: already there, {wording.size(size)}"
        case Adopted(size=size, compared=compared):
            how = (
                "as on the server; recorded"
                if compared
                else "not compared with the server's, so not recorded"
            )
            return f"{name}: found in its place, {wording.size(size)}, {how}"
        case Linked(origin=origin, size=size, compared=compared):
            how = "" if compared else "; not compared with the server's"
            return f"{name}: linked to {printable(origin)}, {wording.size(size)}{how}"
        case Replacing(why=why):
            return f"{name}: {where} {printable(why)}; another is looked for"
        case Retrying(why=why, pause=pause):
            return f"{name}: {printable(why)}; again in {wording.duration(pause)}"
        case Fetched(size=size, first=first, sha256=sha256):
            how = f"recorded as SHA-256 {sha256[:12]}…" if first else "as recorded"
            return f"{name}: fetched, {wording.size(size)}, {how}"
        case Progress() | Failed():
            raise AssertionError(f"{event} has a line of its own")
        case _:
            assert_never(event)


def failure_line(event: Failed) -> str:
    """Return what is wrong and what to do."""
    about = f"{event.model}, {event.name}" if event.name else event.model
    hint = f"; {event.hint}" if event.hint else ""
    return printable(f"{about}: {event.message}{hint}")


Row = tuple[Wanted, Condition]


def table(rows: Sequence[Row], where: Sequence[str], paint: Paint) -> list[str]:
    """Return the table of files; `where` are their paths as people see them."""
    heads = tuple(paint(word, "bold") for word in ("MODEL", "FILE", "STATE", "SIZE", "WHERE"))
    cells = [
        (
            printable(wanted.model),
            printable(wanted.name),
            paint(state_word(found), _COLORS[state_word(found)]),
            _size(wanted, found),
            printable(_where(found, path)),
        )
        for (wanted, found), path in zip(rows, where, strict=True)
    ]
    return columns([heads, *cells], frozenset({3}))


def _size(wanted: Wanted, found: Condition) -> str:
    match found:
        case Present(size=size) | Wrong(size=size):
            return wording.size(size)
        case Begun(done=done, total=total):
            return wording.size(done) + (f" of {wording.size(total)}" if total else "")
        case Missing():
            return "-" if wanted.size is None else wording.size(wanted.size)
        case _:
            assert_never(found)


def _where(found: Condition, path: str) -> str:
    return f"{path} → {found.target}" if isinstance(found, Present) and found.target else path


def finding(wanted: Wanted, found: Condition, where: str) -> tuple[bool, str]:
    """Return whether a file that was read as a whole is right, and what is to say of it."""
    name, fetch = printable(wanted.name), f"atlasctl models fetch {wanted.model}"
    match found:
        case Present(size=size, sha256=sha256) if wanted.sha256 is not None:
            return True, f"{name}: right, {wording.size(size)}, SHA-256 {(sha256 or '')[:12]}…"
        case Present():
            moved = "was recorded from another URL" if wanted.moved else "was never recorded"
            return False, f"{name}: {where} {moved}, so nothing can be said of it; {fetch}"
        case Missing():
            return False, f"{name}: {where} is missing; {fetch}"
        case Begun(done=done):
            said = f"is fetched in part only ({wording.size(done)})"
            return False, f"{name}: {where} {said}; {fetch}"
        case Wrong(why=why):
            return False, f"{name}: {where} {printable(why)}; to fetch it anew: {fetch}"
        case _:
            assert_never(found)
