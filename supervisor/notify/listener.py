"""Hears the journal: what is on disk after a number, then what the daemon goes on to say.

A thread of the courier. The daemon keeps a short tail in memory for those who follow, so a gap in
the numbers, and every new connection, is filled from the disk.
"""

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, cast

from supervisor import journal
from supervisor.control.client import ControlClient, ControlError, DaemonNotRunning
from supervisor.notify.happenings import Happening

if TYPE_CHECKING:
    from supervisor.control.messages import EventMessage

TIMEOUT: Final = 10.0
SHORT_PAUSE: Final = 0.05
"""Seconds before the daemon is asked again after it ended the stream."""
PAUSE: Final = 1.0
"""Seconds before the daemon is asked again after it broke off or refused."""


def listen(
    state_dir: str, seq: int, tell: Callable[[Happening], None], over: threading.Event
) -> None:
    """Tell of every entry after `seq`, in order and once, until no daemon is there any more."""
    client = ControlClient(state_dir, TIMEOUT)
    while not over.is_set():
        for happening in _on_disk(state_dir, seq):
            tell(happening)
            seq = happening.seq
        try:
            for happening in _followed(client, seq):
                if happening.seq > seq + 1:
                    for missed in _on_disk(state_dir, seq):
                        if missed.seq < happening.seq:
                            tell(missed)
                            seq = missed.seq
                if happening.seq > seq:
                    tell(happening)
                    seq = happening.seq
                if over.is_set():
                    return
            over.wait(SHORT_PAUSE)
        except DaemonNotRunning:
            break
        except ControlError:
            over.wait(PAUSE)
    # What was written between the last look and the daemon's end.
    for happening in _on_disk(state_dir, seq):
        tell(happening)


def last_seq(state_dir: str) -> int:
    """Return the number of the journal's latest entry on disk, 0 if there is none."""
    return max((entry.seq for entry in journal.read(state_dir)), default=0)


def _on_disk(state_dir: str, seq: int) -> Iterator[Happening]:
    for entry in journal.read(state_dir, seq):
        yield Happening(entry.seq, entry.at, entry.unit, str(entry.topic), entry.text, entry.run)


def _followed(client: ControlClient, seq: int) -> Iterator[Happening]:
    for value in client.stream("/v1/events", after=str(seq), follow="1"):
        message = cast("EventMessage", value)
        yield Happening(
            message["seq"],
            message["at"],
            message["unit"],
            message["topic"],
            message["text"],
            message["run"],
        )
