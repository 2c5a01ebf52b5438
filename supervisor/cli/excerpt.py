"""The last lines that one run of a service printed, though another has printed more since."""

import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from supervisor.logs import follow
from supervisor.logs.marks import PREFIX

_LINES = 500
"""Lines back from the end of the log in which the run is looked for first."""
_WINDOW = 30.0
"""Seconds before its end in which a run's last words are looked for, where its successor has
printed more than that."""
_MOST = 50_000
"""Lines that are read of a window; a log flood is not worth more than a fraction of a second."""
_BEGINS = re.compile(re.escape(PREFIX) + r"\S+ run (\d+) begins$")


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Some lines of a log, as the service wrote them."""

    lines: tuple[str, ...]
    run: int | None
    """The run that printed them; None if that cannot be told."""


def last_words(log: str, run: int | None, ended_at: float | None, count: int) -> Excerpt:
    """Return the last `count` lines that a run printed; of whichever run if it is not known.

    `ended_at` is when it ended (Unix seconds), None while it lives. A run that printed nothing has
    no lines. Our own marks are left out. Raises OSError if the log cannot be read.
    """
    latest = [line.text for line in follow.last_lines(log, _LINES)]
    if run is not None:
        found = _of_run(latest, run, count)
        if not found and ended_at is not None and len(latest) == _LINES:
            found = _of_run(_since(log, ended_at - _WINDOW), run, count)
        if found:
            return Excerpt(found, run)
        if _was_silent(latest, run):
            return Excerpt((), run)
    return Excerpt(tuple(line for line in latest if not line.startswith(PREFIX))[-count:], None)


def _since(log: str, moment: float) -> Iterable[str]:
    for number, line in enumerate(follow.since(log, moment)):
        if number == _MOST:
            return
        yield line.text


def _of_run(lines: Iterable[str], run: int, count: int) -> tuple[str, ...]:
    """Return the run's last lines; what stands before the first mark is of the run before it."""
    kept: deque[str] = deque(maxlen=count)
    unknown = True
    for line in lines:
        begun = _begun(line)
        if begun is None:
            if not line.startswith(PREFIX):
                kept.append(line)
            continue
        if begun > run:
            # In a rolling restart two runs print at once, and nobody can tell whose a line is.
            return tuple(kept) if not unknown or begun == run + 1 else ()
        unknown = begun != run
        kept.clear()
    return () if unknown else tuple(kept)


def _was_silent(lines: Iterable[str], run: int) -> bool:
    """Tell whether our marks of a run's begin and end stand next to each other."""
    marks = iter(lines)
    return any(_begun(line) == run for line in marks) and next(marks, "").startswith(PREFIX)


def _begun(line: str) -> int | None:
    found = _BEGINS.match(line) if line.startswith(PREFIX) else None
    return None if found is None else int(found[1])
