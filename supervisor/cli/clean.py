"""`atlasctl clean`: logs go to an archive, packed, and begin anew.

What runs is not disturbed: its log is moved by the sink, which alone writes it. Every file is in
its old place or in the archive at any instant, so Ctrl-C, a full disk or a kill lose nothing, and
the next `clean` goes on where this one was broken off.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from supervisor.cli import wording
from supervisor.cli.connection import System, short_path
from supervisor.cli.exits import CommandError, ExitStatus, Interrupted
from supervisor.cli.invocation import Invocation
from supervisor.cli.log_archive import Archives, files_in, gzip_in_place, remove
from supervisor.cli.log_files import log_paths
from supervisor.cli.log_folder import Left, Taken, names_living, survey
from supervisor.cli.services import check_names
from supervisor.cli.sole_writer import MoveError, sole_writer
from supervisor.cli.terminal import printable, warn
from supervisor.config.loader import load
from supervisor.logs.relocation import move
from supervisor.posix.lock import DaemonLock, LockHeldError
from supervisor.posix.state import UnsafePathError

_LISTED = 10
"""Files that stay named in one sentence; more are counted."""


@dataclass(slots=True)
class _Done:
    """What has become of it so far."""

    archive: str | None = None
    files: list[tuple[str, int]] = field(default_factory=list)
    """Of the archive, with their sizes before they were packed."""
    left: list[Left] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def clean(call: Invocation) -> int:
    """Archive logs, old PID files and dumps; remove archives that are too many."""
    _check(call)
    system = call.system()
    paths = log_paths(system, ())
    check_names(call.services, list(paths))
    logs_dir = os.path.dirname(next(iter(paths.values()), "")) or load(system.config).logs_dir
    archives = Archives(logs_dir)
    done = _Done()
    try:
        if call.dry_run:
            return _tell_plan(call, archives, *_survey(call, logs_dir, list(paths)))
        if os.path.isdir(logs_dir):
            with _alone(archives):
                taken, done.left = _survey(call, logs_dir, list(paths))
                if taken:
                    _archive(system, archives, logs_dir, taken, done)
                _pack(archives, done)
                _remove(archives, call.keep, done)
    except KeyboardInterrupt:
        raise Interrupted(_so_far(done)) from None
    except OSError as error:
        raise CommandError(ExitStatus.NOT_REACHED, str(error), _so_far(done)) from None
    return _tell(call, done)


def _check(call: Invocation) -> None:
    if call.keep < 1:
        raise CommandError(
            ExitStatus.USAGE, "--keep 0 would remove what was just archived", "keep 1 or more"
        )
    if call.services and call.strangers:
        raise CommandError(
            ExitStatus.USAGE,
            "--all takes what no service writes, and services are named",
            "leave out one of the two",
        )


def _survey(
    call: Invocation, logs_dir: str, known: Sequence[str]
) -> tuple[list[Taken], list[Left]]:
    return survey(logs_dir, known, call.services, strangers=call.strangers)


@contextlib.contextmanager
def _alone(archives: Archives) -> Iterator[None]:
    """Be the only one who changes archives. Raises CommandError if another does."""
    archives.make_folder()
    try:
        lock = DaemonLock.acquire(archives.lock)
    except LockHeldError as held:
        who = "" if held.pid is None else f" (pid {held.pid})"
        raise CommandError(
            ExitStatus.NOT_REACHED,
            f"another clean{who} is at work in {short_path(archives.path)}",
            "wait until it has ended",
        ) from None
    except UnsafePathError as error:
        raise CommandError(ExitStatus.NOT_REACHED, str(error)) from None
    try:
        archives.drop_empty()
        yield
    finally:
        lock.release()


# What is done --------------------------------------------------------------------------------


def _archive(
    system: System, archives: Archives, logs_dir: str, taken: Sequence[Taken], done: _Done
) -> None:
    done.archive = folder = archives.begin(time.time())
    try:
        if os.stat(folder).st_dev != os.stat(logs_dir).st_dev:
            raise CommandError(
                ExitStatus.NOT_REACHED,
                f"{short_path(archives.path)} is on another file system than the logs",
                "put a folder in its place: a running service's log can be moved only within one",
            )
        with sole_writer(system.state_dir) as move_log:
            for log in dict.fromkeys(each.log for each in taken if each.log is not None):
                try:
                    move_log(os.path.join(logs_dir, log), folder)
                except MoveError as error:
                    done.problems.append(str(error))
        for each in taken:
            if each.log is None:
                move_lone(logs_dir, each.name, folder)
    finally:
        done.files = files_in(folder)
        if not done.files:
            done.archive = None
            remove(folder)


def move_lone(logs_dir: str, name: str, folder: str) -> None:
    """Move a file that belongs to no log."""
    with contextlib.suppress(FileNotFoundError):
        move(logs_dir, name, folder)
        path, archived = os.path.join(logs_dir, name), os.path.join(folder, name)
        if name.endswith(".pid") and names_living(archived):
            # Between the look and the move the daemon has started the service.
            with contextlib.suppress(FileExistsError):
                os.link(archived, path)
            os.unlink(archived)


def _pack(archives: Archives, done: _Done) -> None:
    """Gzip what is raw in the archives, also what an interrupted `clean` has left so."""
    for path in archives.unpacked():
        try:
            gzip_in_place(path)
        except OSError as error:
            # No further attempt: on a full disk each would take the last room from the services.
            why = error.strerror or str(error)
            done.problems.append(
                f"{short_path(path)} could not be packed: {why}; it is whole, and the next clean "
                "packs it"
            )
            return


def _remove(archives: Archives, keep: int, done: _Done) -> None:
    if done.problems:
        return  # older ones go only when the new one is as it should be
    for folder in archives.superfluous(keep, done.archive):
        remove(folder)
        done.removed.append(folder)


def _so_far(done: _Done) -> str:
    if done.archive is None:
        return "nothing was moved"
    return (
        f"what was moved is in {short_path(done.archive)}, the rest is where it was, and the next "
        "clean goes on"
    )


# What is told --------------------------------------------------------------------------------


def _tell_plan(
    call: Invocation, archives: Archives, taken: Sequence[Taken], left: Sequence[Left]
) -> int:
    # The new archive, which is not there yet, counts as one that is kept.
    removed = archives.superfluous(call.keep - bool(taken), None)
    if call.json:
        _print_json(None, [(each.name, each.size) for each in taken], removed, left, [])
        return ExitStatus.AS_ASKED
    for each in taken:
        print(f"would archive {printable(each.name)} ({wording.size(each.size)})")
    for folder in removed:
        print(f"would remove {short_path(folder)}")
    if not taken and not removed:
        print("nothing to archive")
    _print_left(left)
    return ExitStatus.AS_ASKED


def _tell(call: Invocation, done: _Done) -> int:
    if call.json:
        _print_json(done.archive, done.files, done.removed, done.left, done.problems)
    else:
        if done.archive is None:
            print("nothing to archive")
        else:
            files = wording.count(len(done.files), "file")
            before = wording.size(sum(size for _, size in done.files))
            now = wording.size(sum(size for _, size in files_in(done.archive)))
            print(f"archived {files} ({before}, now {now}) in {short_path(done.archive)}")
        for folder in done.removed:
            print(f"removed {short_path(folder)} (--keep {call.keep})")
        _print_left(done.left)
        for problem in done.problems:
            warn(printable(problem))
    return ExitStatus.NOT_REACHED if done.problems else ExitStatus.AS_ASKED


def _print_left(left: Sequence[Left]) -> None:
    for each in left:
        if not each.is_stranger:
            print(f"left {printable(each.name)}: {each.why}")
    if strangers := [printable(each.name) for each in left if each.is_stranger]:
        named = strangers[:_LISTED]
        if len(strangers) > _LISTED:
            named.append(f"{len(strangers) - _LISTED} more")
        print(
            f"left, since no service of this configuration writes there: {wording.listing(named)}; "
            "to archive that too: atlasctl clean --all"
        )


def _print_json(
    archive: str | None,
    files: Sequence[tuple[str, int]],
    removed: Sequence[str],
    left: Sequence[Left],
    problems: Sequence[str],
) -> None:
    told = {
        "ok": not problems,
        "archive": archive,
        "files": [{"name": name, "bytes": size} for name, size in files],
        "removed": list(removed),
        "left": [{"name": each.name, "why": each.why} for each in left],
        "problems": list(problems),
    }
    print(json.dumps(told, ensure_ascii=False, indent=2))
