"""`atlasctl logs`: what services have written, in the order in which they wrote it."""

import heapq
import itertools
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping

from supervisor.cli.connection import short_path
from supervisor.cli.exits import ExitStatus, Interrupted
from supervisor.cli.invocation import Invocation
from supervisor.cli.log_files import log_paths
from supervisor.cli.terminal import SERVICE_COLORS, is_terminal, pad, tame, warn, width
from supervisor.logs.follow import LogLine, LogTail, follow

SHOWN = 100
"""Lines of each service, unless asked otherwise."""

Said = tuple[str, LogLine]
"""A service and a line of it."""


def logs(call: Invocation) -> int:
    """Print the output of services, and go on with what comes."""
    paths = log_paths(call.system(), call.services)
    # Several logs are merged by time, so times are looked up even if they are not shown.
    times = call.timestamps or len(paths) > 1
    tails = {name: LogTail(path, times=times) for name, path in paths.items()}
    printer = Printer(call, list(paths))
    try:
        histories = [_history(name, tail, call) for name, tail in tails.items()]
        nothing = True
        for name, line in in_order(histories):
            nothing = False
            printer.put(name, line)
        if not call.follow:
            if nothing and call.since is None and call.lines != 0:
                files = ", ".join(map(short_path, paths.values())) or "no services"
                warn(f"nothing has been written yet ({files})")
            return ExitStatus.AS_ASKED
        sys.stdout.flush()
        _follow(tails, printer)
    except KeyboardInterrupt:
        raise Interrupted("no longer following; the services go on as they are") from None
    finally:
        for tail in tails.values():
            tail.close()
    return ExitStatus.AS_ASKED


def _follow(tails: Mapping[str, LogTail], printer: "Printer") -> None:
    def wait(seconds: float) -> None:
        sys.stdout.flush()
        time.sleep(seconds)

    for name, line in follow(tails, wait):
        printer.put(name, line)


def _history(name: str, tail: LogTail, call: Invocation) -> Iterator[Said]:
    """Yield what is there already and was asked for; the tail stands behind it then."""
    if call.since is not None:
        tail.seek_time(call.since)
    elif not call.all_lines:
        tail.seek_last(SHOWN if call.lines is None else call.lines)
    lines = _present(tail, unfinished=not call.follow)
    if call.lines is not None:
        # Also without --since: an unfinished line at the end counts as one.
        lines = iter(deque(lines, maxlen=call.lines))
    return ((name, line) for line in lines)


def _present(tail: LogTail, *, unfinished: bool) -> Iterator[LogLine]:
    while lines := tail.read():
        yield from lines
    if unfinished:
        yield from tail.rest()


def in_order(histories: Iterable[Iterator[Said]]) -> Iterator[Said]:
    """Merge lines by the time at which they were written; those of one service keep their order.

    A line whose time is not known stands after the line before it.
    """
    for _, _, said in heapq.merge(*(_timed(at, h) for at, h in enumerate(histories))):
        yield said


def _timed(place: int, history: Iterator[Said]) -> Iterator[tuple[float, tuple[int, int], Said]]:
    latest = 0.0
    for count, said in enumerate(history):
        # A clock that was set back must not put a later line of this service first.
        latest = max(latest, said[1].at or 0.0)
        yield latest, (place, count), said


class Printer:
    """Prints lines, with the name of their service where there are several."""

    def __init__(self, call: Invocation, names: list[str]) -> None:
        self._timestamps = call.timestamps
        self._paint = call.paint
        self._tame = is_terminal(sys.stdout)
        cells = max(map(width, names), default=0)
        colors = itertools.cycle(SERVICE_COLORS)
        self._heads = (
            {
                name: call.paint(f"{pad(name, cells)} |", color) + " "
                for name, color in zip(names, colors, strict=False)
            }
            if len(names) > 1
            else dict.fromkeys(names, "")
        )

    def put(self, name: str, line: LogLine) -> None:
        """Print one line. A terminal gets no control characters but colours; a pipe gets all."""
        text = tame(line.text, colors=self._paint.on) if self._tame else line.text
        stamp = f"{self._paint(moment(line.at), 'dim')} " if self._timestamps else ""
        sys.stdout.write(f"{self._heads[name]}{stamp}{text}\n")


def moment(at: float | None) -> str:
    """Return local date and time to a tenth of a second, as exact as it is known; dashes if not."""
    if at is None:
        return "-" * 21
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.localtime(at))}.{int(at * 10) % 10}"
