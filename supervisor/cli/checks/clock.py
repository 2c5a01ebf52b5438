"""Whether the clock on the wall can be believed: times in logs and in `why` rest on it."""

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from supervisor.cli.findings import OURS, Finding
from supervisor.cli.wording import count, duration
from supervisor.journal import Entry

_YEAR: Final = 365.25 * 86400.0
_AHEAD: Final = 10 * _YEAR
"""Seconds after the newest file of the code was made, by which it would be very old."""
_RELEASED: Final = 1_735_689_600.0
"""2025-01-01: nothing of this was there before. Installers may give files the time 0."""
_LEEWAY: Final = 86400.0
"""Seconds: a file that was unpacked keeps the time of another machine's clock."""
_SLIGHT: Final = 60.0
_ZONES: Final = "/usr/share/zoneinfo"
_RULE: Final = re.compile(r":?(?:[A-Za-z]{3,}|<[A-Za-z0-9+-]+>)[+-]?[0-9].*")
"""A rule instead of a name, like EET-2EEST (POSIX, environment variables, TZ)."""


def newest(folder: str) -> float:
    """Return when the newest Python file below a folder was changed, in Unix seconds."""
    return max(
        (
            os.stat(os.path.join(where, name)).st_mtime
            for where, _, names in os.walk(folder)
            for name in names
            if name.endswith(".py")
        ),
        default=0.0,
    )


def wall_clock(now: float, made: float) -> Iterator[Finding]:
    """Yield whether the clock is far off; `made` is when the newest file of the code was changed.

    Unix seconds.
    """
    shown = time.strftime("%Y-%m-%d %H:%M", time.localtime(now))
    hint = "set it: in the system's settings, or sudo date; let the network do it if there is one"
    if now < max(made - _LEEWAY, _RELEASED):
        text = f"it says {shown}, which is before this program was installed"
        yield Finding(OURS, "clock", "wrong", text, hint)
    elif now > max(made, _RELEASED) + _AHEAD:
        text = f"it says {shown}, {(now - made) / _YEAR:.0f} years after this program was installed"
        yield Finding(OURS, "clock", "note", text, hint)


def future(entries: Sequence[Entry], now: float) -> Iterator[Finding]:
    """Yield whether the journal has entries of times to come."""
    late = [entry.at for entry in entries if entry.at > now + _SLIGHT]
    if late:
        are = count(len(late), "entry of the journal is", "entries of the journal are")
        ahead = duration(max(late) - now)
        text = f"{are} of the future, by up to {ahead}: the clock was set back since"
        hint = "if the clock is right now: `why` and `events` show those times, and go by the order"
        yield Finding(OURS, "clock", "note", text, hint)


def time_zone(
    environ: Mapping[str, str], zones: str = _ZONES, local: str = "/etc/localtime"
) -> Iterator[Finding]:
    """Yield whether local time is known; `zones` and `local` are where tzset(3) looks."""
    name = environ.get("TZ", "").removeprefix(":")
    hint = "set TZ to a zone, like Europe/Kyiv"
    if name and not _RULE.fullmatch(name) and not os.path.isfile(os.path.join(zones, name)):
        text = f"TZ is {name}, which this machine does not know: times are shown in UTC"
        yield Finding(OURS, "time zone", "note", text, f"{hint}; install tzdata if none is known")
    elif "TZ" not in environ and not os.path.exists(local):
        text = "none is set: times are shown in UTC"
        yield Finding(OURS, "time zone", "note", text, hint)
