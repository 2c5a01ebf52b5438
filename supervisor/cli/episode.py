"""The last episode of one service: which entries of the journal belong together. Pure.

An episode begins with what somebody asked or with the first sign of trouble, and ends when nothing
has happened for `CALM` seconds while the service was settled. What befell the supervisor or the
machine meanwhile belongs to it too.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from supervisor.core.causes import AS_ASKED_AGAIN, Kind
from supervisor.core.effects import Topic
from supervisor.journal import Entry

CALM = 600.0
"""Seconds without an entry after which what comes next is another story."""
LEAD = 60.0
"""Seconds by which a sleep of the machine may come before what it explains."""

_UNSETTLED = (
    Topic.ASKED,
    Topic.BLOCKED,
    Topic.SPAWN_FAILED,
    Topic.UNREADY,
    Topic.DUMPED,
    Topic.REMEDY,
    Topic.STOPPING,
    Topic.KILLED,
    Topic.EXITED,
    Topic.LEFT_OVER,
    Topic.RESTARTING,
    Topic.ROLLING,
)
"""After these more is to come, however long it takes."""
_TROUBLE = (
    Topic.SPAWN_FAILED,
    Topic.UNREADY,
    Topic.PROBE_FAILED,
    Topic.DUMPED,
    Topic.REMEDY,
    Topic.KILLED,
    Topic.LEFT_OVER,
    Topic.RESTARTING,
    Topic.GAVE_UP,
    Topic.ROLL_FAILED,
    Topic.TROUBLE,
)
_BEGINNINGS = (Topic.BEGAN, Topic.UPGRADED)
_OF_ALL = (*_BEGINNINGS, Topic.ENDED, Topic.DAEMON, Topic.RESUMED, Topic.CLOCK)
"""What befalls every service at once."""
_GROUNDS_BEFORE = (Topic.RESUMED, Topic.CLOCK)


@dataclass(frozen=True, slots=True)
class Episode:
    """What happened last to one service, and to the supervisor and the machine meanwhile."""

    service: str
    entries: tuple[Entry, ...]
    """By number; empty if nothing was ever written about it."""
    crashes: frozenset[int] = frozenset()
    """Of those entries that tell of a supervisor's start: where the one before did not end."""

    @property
    def own(self) -> tuple[Entry, ...]:
        """The entries that are about the service itself."""
        return tuple(entry for entry in self.entries if entry.unit == self.service)

    def restarts(self) -> list[Entry]:
        """Return the decisions to start another run, after the first one failed."""
        return [entry for entry in self.entries if entry.topic == Topic.RESTARTING]

    def troubles(self) -> list[Entry]:
        """Return what should not have been, without what was over before it came to anything.

        A probe that fails while the service is on its way up, and then it is ready, is no trouble.
        """
        ready: set[int | None] = set()
        found = []
        for entry in reversed(self.own):
            if entry.topic == Topic.READY:
                ready.add(entry.run)
            elif entry.topic in _TROUBLE and not (
                entry.topic == Topic.PROBE_FAILED and entry.run in ready
            ):
                found.append(entry)
        return found[::-1]

    def failure(self) -> Entry | None:
        """Return the last sign of trouble that is about a run, or None if there was no trouble."""
        return next((e for e in reversed(self.troubles()) if e.run is not None), None)

    def notice(self) -> Entry | None:
        """Return what the last run said is not as asked, if that holds for all that is known."""
        for entry in reversed(self.own):
            if entry.topic == Topic.NOTICE:
                return None if entry.text == AS_ASKED_AGAIN else entry
            if entry.topic in (Topic.STARTED, Topic.EXITED):
                return None
        return None


def last_episode(service: str, journal: Sequence[Entry]) -> Episode:
    """Return the last episode of a service; `journal` is oldest first, of all services."""
    own = [entry for entry in journal if entry.unit == service]
    if not own:
        return Episode(service, ())
    begin = 0
    for at in range(1, len(own)):
        before, entry = own[at - 1], own[at]
        calm = entry.at - before.at >= CALM and before.topic not in _UNSETTLED
        if calm or _begins(entry, before):
            begin = at
    own = own[begin:]
    others = [entry for entry in journal if not entry.unit]
    beside = [entry for entry in others if _belongs(entry, own, service)]
    entries = sorted((*own, *beside), key=lambda entry: entry.seq)
    return Episode(service, tuple(entries), _crashes(others))


def last_episodes(journal: Sequence[Entry]) -> dict[str, Episode]:
    """Return the last episode of each service of which anything is written."""
    of_unit: dict[str, list[Entry]] = {}
    for entry in journal:
        of_unit.setdefault(entry.unit, []).append(entry)
    of_daemon = of_unit.pop("", [])
    return {name: last_episode(name, [*own, *of_daemon]) for name, own in of_unit.items()}


def _begins(entry: Entry, before: Entry) -> bool:
    """Tell whether somebody's word opens a new chapter here.

    A running service that is asked to stop or restart notes `stopping`, an idle one `asked` or
    `stopped`, one that is to be replaced while it runs `rolling`.
    """
    if entry.kind is not Kind.ASKED:
        return False
    if entry.topic != Topic.ASKED:
        return True
    return before.topic not in _UNSETTLED or before.topic == Topic.RESTARTING


def _belongs(entry: Entry, own: Sequence[Entry], service: str) -> bool:
    first, last = own[0], own[-1]
    if entry.seq > last.seq:
        return False
    if entry.topic == Topic.RELOADED:
        named = re.search(rf"(?<![\w.-]){re.escape(service)} \(", entry.text) is not None
        return named and entry.seq > first.seq
    if entry.topic not in _OF_ALL:
        return False
    if entry.seq > first.seq:
        return True
    soon = 0.0 <= first.at - entry.at <= LEAD
    if entry.topic in _BEGINNINGS:
        # A start that was asked for is no news; what an earlier supervisor left is.
        return soon and first.topic in (Topic.ADOPTED, Topic.EXITED, Topic.RETIRED)
    return soon and entry.topic in _GROUNDS_BEFORE and any(e.topic in _TROUBLE for e in own)


def _crashes(of_daemon: Sequence[Entry]) -> frozenset[int]:
    found = set()
    running = False
    for entry in of_daemon:
        if entry.topic == Topic.BEGAN and running:
            found.add(entry.seq)
        if entry.topic in (*_BEGINNINGS, Topic.ENDED):
            running = entry.topic != Topic.ENDED
    return frozenset(found)
