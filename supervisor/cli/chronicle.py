"""`events`: the journal, listed and followed.

Following goes by number: what the supervisor sends is checked for gaps, and what is missing is read
on disk. So nothing is missed or told twice while supervisors are killed, started and upgraded, nor
where we read more slowly than it writes.
"""

import collections
import contextlib
import json
import sys
import time
from collections.abc import Iterator

from supervisor import journal
from supervisor.cli.connection import System, follow_events, no_daemon, speaking_to
from supervisor.cli.exits import CommandError, ExitStatus, Interrupted
from supervisor.cli.invocation import Invocation
from supervisor.cli.known_services import check_known, services_of_daemon
from supervisor.cli.telling import as_told, event_line
from supervisor.cli.terminal import warn
from supervisor.control.client import BrokenOffError, ControlError, DaemonNotRunning
from supervisor.core.effects import Topic
from supervisor.journal import Entry

LISTED = 50
PATIENCE = 60.0
"""Seconds that a follower waits for another supervisor where one was killed."""
_PAUSE = 0.1
"""Seconds between two looks for it."""


def events(call: Invocation) -> int:
    """List the journal, and go on with what comes."""
    system = call.system()
    entries = journal.read(system.state_dir)
    units = {entry.unit for entry in entries}
    if unknown := [name for name in call.services if name not in units]:
        check_known(unknown, system, services_of_daemon(system), [])
    wanted = call.lines
    if wanted is None and call.since is None:
        wanted = LISTED
    latest = collections.deque(
        (e for e in entries if _is_asked_for(e, call) and e.at >= (call.since or 0.0)),
        maxlen=wanted,
    )
    for entry in latest:
        _print_entry(entry, call)
    if not call.follow:
        return ExitStatus.AS_ASKED
    sys.stdout.flush()
    try:
        for entry in Follower(system, entries[-1] if entries else None).entries():
            if _is_asked_for(entry, call):
                _print_entry(entry, call)
                sys.stdout.flush()
    except KeyboardInterrupt:
        raise Interrupted("no longer following; the services go on as they are") from None
    raise CommandError(
        ExitStatus.NO_DAEMON,
        "the supervisor has ended, and with it the events",
        no_daemon(system).hint,
    )


def _is_asked_for(entry: Entry, call: Invocation) -> bool:
    return not call.services or entry.unit in call.services


def _print_entry(entry: Entry, call: Invocation) -> None:
    if call.json:
        text = json.dumps(as_told(entry), ensure_ascii=False, separators=(",", ":"))
        # Lone surrogates, of a path that is no UTF-8, can be escaped in JSON but not printed.
        print(text.encode("utf-8", "backslashreplace").decode())
    else:
        print(event_line(entry, time.time(), call.paint))


class Follower:
    """Every entry after one that was read, each once, whoever writes the journal meanwhile."""

    def __init__(self, system: System, last: Entry | None) -> None:
        self._system = system
        self._seq = 0 if last is None else last.seq
        self._at = 0.0 if last is None else last.at
        self._ended = False
        self._gone_since: float | None = None
        self._accepted = False

    def entries(self) -> Iterator[Entry]:
        """Yield entries until the supervisor ends in order, or is gone for `PATIENCE` seconds.

        Raises CommandError where no supervisor runs to begin with.
        """
        try:
            # One that was killed as it was asked ran to begin with: another may come.
            with speaking_to(self._system), contextlib.suppress(BrokenOffError):
                yield from self._from_daemon()
        except CommandError:
            # It may have ended since the list was printed, with more written by then.
            yield from self._from_disk()
            raise
        looked = None
        while True:
            found = journal.stamp(self._system.state_dir)
            if found != looked:
                looked = found
                yield from self._from_disk()
            if self._ended:
                return
            self._accepted = False
            try:
                yield from self._from_daemon()
            except DaemonNotRunning:
                pass
            except ControlError as error:
                if error.status and error.status < 500:
                    with speaking_to(self._system):
                        raise
            if not self._accepted:
                self._be_patient()
            time.sleep(_PAUSE)

    def _be_patient(self) -> None:
        """Take note that nobody sends; say so once, and raise CommandError when it is too long."""
        now = time.monotonic()
        if self._gone_since is None:
            self._gone_since = now
            warn(
                "the supervisor is gone; services go on without it. "
                f"Waiting up to {PATIENCE:g} s for another"
            )
        elif now - self._gone_since > PATIENCE:
            raise CommandError(
                ExitStatus.NO_DAEMON,
                f"no supervisor has come for {PATIENCE:g} s",
                no_daemon(self._system).hint,
            )

    def _is_there(self) -> None:
        """Take note that a supervisor has answered, though it may say nothing for long."""
        self._accepted = True
        if self._gone_since is not None:
            self._gone_since = None
            warn("a supervisor runs again")

    def _from_daemon(self) -> Iterator[Entry]:
        try:
            for message in follow_events(self._system.client(), self._seq, self._is_there):
                entry = journal.entry_of(message)
                if entry is None or entry.seq <= self._seq:
                    continue
                if entry.seq > self._seq + 1:
                    yield from self._from_disk(until=entry.seq)
                yield self._take(entry)
        except ControlError as error:
            if error.status != ANEW:
                raise
            # Numbers are used again: what the last one could not write is lost, or all of it was
            # removed. Only time tells then what is new.
            self._is_there()
            warn("the journal has begun anew")
            self._seq = 0
            for entry in journal.read(self._system.state_dir):
                if entry.at > self._at:
                    yield self._take(entry)
                self._seq = entry.seq

    def _from_disk(self, until: int | None = None) -> Iterator[Entry]:
        for entry in journal.read(self._system.state_dir, self._seq):
            if until is not None and entry.seq >= until:
                break
            yield self._take(entry)

    def _take(self, entry: Entry) -> Entry:
        missing = entry.seq - self._seq - 1
        if missing > 0 and self._seq:
            warn(f"{missing} entries are missing: the journal does not have them any more")
        self._seq, self._at = entry.seq, entry.at
        if entry.topic in (Topic.BEGAN, Topic.UPGRADED, Topic.ENDED):
            self._ended = entry.topic == Topic.ENDED
        return entry


ANEW = 409
"""The status by which a supervisor says that its journal has not got that far."""
