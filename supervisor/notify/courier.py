"""The courier: a process beside the daemon that tells people and collectors.

    python -P -m supervisor.notify.courier STATE_DIR

It hears the journal (`listener`), keeps a mailbox for each target (`mailbox`), and has at most one
delivery of each under way, in a thread of its own, so that who is slow delays nobody else. What it
has heard and has still to tell is written down before it is sent and after: a courier that is
killed loses nothing, and doubles at most what was on its way. It ends by itself when the daemon
is gone, and leaves the rest to the courier of the next one.
"""

import contextlib
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from supervisor.control.client import ControlClient, ControlError, DaemonNotRunning
from supervisor.core.effects import Topic
from supervisor.core.notify import Target, Transition
from supervisor.notify import mailbox
from supervisor.notify.delivery import SLACK, Delivery, limit, no_answer
from supervisor.notify.errand import (
    LOCK,
    Errand,
    Memory,
    Remembered,
    recall,
    remember,
    take_up,
)
from supervisor.notify.happenings import TROUBLE, Happening, hear, meaning
from supervisor.notify.listener import last_seq, listen
from supervisor.notify.mailbox import Letter, Mailbox
from supervisor.notify.metrics_file import Collector
from supervisor.notify.outcome import Delivered, Missed, Outcome
from supervisor.notify.words import title
from supervisor.posix.identity import identify, is_alive
from supervisor.posix.lock import DaemonLock, LockHeldError
from supervisor.posix.processes import terminate
from supervisor.posix.state import UnsafePathError

BACKLOG: Final = 1000
"""Happenings that may wait to be looked at; then the journal itself keeps them."""
DRAIN: Final = 4.0
"""Seconds after the daemon's end in which what is due is still sent."""
LAST_DELIVERIES: Final = 2.0
"""Seconds that deliveries under way may take when the courier is asked to end."""
TAKE_OVER: Final = 10.0
"""Seconds that an earlier courier may take to go."""
COMPLAINTS: Final = 20
PROVEN: Final = 10.0
"""Seconds that a service which cannot be asked must run before it is said to work again."""


@dataclass(frozen=True, slots=True)
class _Gone:
    """No daemon is there any more."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """Somebody wants this courier to end."""


@dataclass(frozen=True, slots=True)
class _Done:
    """A delivery has come to its end."""

    delivery: Delivery
    outcome: Outcome


_Item = Happening | _Gone | _Asked | _Done


class Courier:
    """One errand."""

    def __init__(self, state_dir: str, errand: Errand, memory: Memory) -> None:
        self._state_dir = state_dir
        self._errand = errand
        self._targets = {target.name: target for target in errand.targets}
        self._seq = memory.seq
        known = {name: memory.targets.get(name, Remembered()) for name in self._targets}
        self._boxes = {n: mailbox.restored(k.letters, k.dropped) for n, k in known.items()}
        self._known: dict[str, Remembered] = known
        self._host = socket.gethostname()
        # Reentrant, so that the signal handler may put something in; bounded by the semaphore.
        self._inbox: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._room = threading.Semaphore(BACKLOG)
        self._over = threading.Event()
        self._under_way: dict[str, Delivery] = {}
        self._hung: dict[str, Delivery] = {}
        """Given up, though their threads have not come back."""
        self._told: dict[str, str] = {}
        """What the journal was told of a target that cannot be reached."""
        self._complaints: queue.Queue[str] = queue.Queue(COMPLAINTS)
        self._written: Memory | None = None

    def ask_to_end(self) -> None:
        """Let it end soon; what is due is left to the next courier."""
        self._over.set()
        self._inbox.put(_Asked())

    def figures(self) -> Mapping[str, Remembered]:
        """Return what is known of each target; for another thread."""
        return dict(self._known)

    def run(self) -> None:
        """Do the errand until the daemon is gone or somebody asks for the end."""
        self._begin(self._listen)
        self._begin(self._complain)
        collector = None
        if self._errand.metrics is not None:
            collector = Collector(
                self._state_dir, self._errand.metrics, self.figures, self._say, self._over
            )
            collector.start()
        try:
            self._work()
        finally:
            self._over.set()
        if collector is not None:
            collector.finish()

    def _begin(self, work: Callable[[], None]) -> None:
        threading.Thread(target=work, daemon=True).start()

    def _listen(self) -> None:
        def tell(happening: Happening) -> None:
            while not self._room.acquire(timeout=1.0):
                if self._over.is_set():
                    return
            self._inbox.put(happening)

        try:
            listen(self._state_dir, self._seq, tell, self._over)
        finally:
            # By a bug as well: a courier that hears nothing makes room for another.
            self._inbox.put(_Gone())

    # The loop --------------------------------------------------------------------------------

    def _work(self) -> None:
        until: float | None = None
        sends = True
        while True:
            for item in self._next_items(until):
                match item:
                    case Happening():
                        self._hear(item)
                    case _Done():
                        self._finish(item.delivery, item.outcome)
                    case _Gone():
                        self._boxes = {
                            name: mailbox.hold_nothing_back(box)
                            for name, box in self._boxes.items()
                        }
                        until = time.monotonic() + DRAIN
                    case _Asked():
                        sends = False
                        until = time.monotonic() + LAST_DELIVERIES
            now = time.monotonic()
            self._give_up_on_hung(now)
            self._write()
            if sends:
                self._send(now)
            if until is not None and (now >= until or self._is_idle(until, sends=sends)):
                return

    def _next_items(self, until: float | None) -> list[_Item]:
        """Wait for something to happen or to be due; return all that has happened."""
        now = time.monotonic()
        times = [delivery.deadline for delivery in self._under_way.values()]
        times += [at for box in self._boxes.values() if (at := mailbox.next_at(box, now))]
        times += [] if until is None else [until]
        wait = max(0.0, min(times) - now) if times else None
        items: list[_Item] = []
        with contextlib.suppress(queue.Empty):
            items.append(self._inbox.get(timeout=wait))
            while len(items) < BACKLOG:
                items.append(self._inbox.get_nowait())
        if heard := sum(isinstance(item, Happening) for item in items):
            self._room.release(heard)
        return items

    def _is_idle(self, until: float, *, sends: bool) -> bool:
        if self._under_way:
            return False
        times = (mailbox.next_at(box, time.monotonic()) for box in self._boxes.values())
        return not sends or all(at is None or at > until for at in times)

    def _hear(self, happening: Happening) -> None:
        self._seq = happening.seq
        for transition in meaning(happening, self._errand.unproven):
            for name, target in self._targets.items():
                known = self._known[name]
                before = frozenset(known.troubled)
                if transition in TROUBLE or transition is Transition.STOPPED:
                    self._boxes[name] = mailbox.withdraw(
                        self._boxes[name], happening.service, Transition.RECOVERED
                    )
                troubled, wanted = hear(target, before, transition, happening.service)
                if troubled != before:
                    self._known[name] = replace(known, troubled=tuple(sorted(troubled)))
                if wanted:
                    letter = Letter(
                        service=happening.service,
                        event=transition.value,
                        text=happening.text,
                        seq=happening.seq,
                        since=happening.at,
                        at=happening.at,
                        run=happening.run,
                        topic="" if happening.service else happening.topic,
                    )
                    unsure = transition is Transition.RECOVERED and happening.topic == Topic.STARTED
                    self._put(name, letter, PROVEN if unsure else 0.0)

    def _put(self, name: str, letter: Letter, delay: float) -> None:
        box = mailbox.put(self._boxes[name], letter, time.monotonic(), delay)
        if box.dropped > self._boxes[name].dropped:
            text = f"over {mailbox.MOST} notifications wait: the oldest are dropped"
            self._say_of(name, text, text)
        self._boxes[name] = box

    # Sending ---------------------------------------------------------------------------------

    def _send(self, now: float) -> None:
        for name, target in self._targets.items():
            if name in self._under_way:
                continue
            self._boxes[name], letter = mailbox.take(self._boxes[name], now, time.time())
            if letter is not None:
                self._start(target, letter, now)

    def _start(self, target: Target, letter: Letter, now: float) -> None:
        if target.name in self._hung:
            # A second thread would hang as well, and so on.
            self._settle(target.name, Missed("an earlier try hangs", again=True))
            return
        deadline = now + limit(target.channel) + SLACK
        delivery = Delivery(target, letter, self._host, deadline)
        self._under_way[target.name] = delivery
        self._begin(lambda: self._inbox.put(_Done(delivery, delivery.carry_out())))

    def _finish(self, delivery: Delivery, outcome: Outcome) -> None:
        name = delivery.target.name
        if self._under_way.get(name) is delivery:
            del self._under_way[name]
            self._settle(name, outcome)
        elif self._hung.get(name) is delivery:
            del self._hung[name]
            box = self._boxes[name]
            same = box.current is not None and replace(box.current, tries=0) == replace(
                delivery.letter, tries=0
            )
            if same and isinstance(outcome, Delivered):
                self._settle(name, outcome)  # late, and yet it has arrived

    def _give_up_on_hung(self, now: float) -> None:
        for name, delivery in list(self._under_way.items()):
            if now >= delivery.deadline:
                del self._under_way[name]
                self._hung[name] = delivery
                within = limit(delivery.target.channel)
                self._settle(name, no_answer(within))

    def _settle(self, name: str, outcome: Outcome) -> None:
        now, known, box = time.monotonic(), self._known[name], self._boxes[name]
        known = replace(
            known,
            last_words=outcome.words,
            last_at=time.time(),
            last_ok=isinstance(outcome, Delivered),
        )
        letter = box.current
        assert letter is not None, "something was sent"  # noqa: S101
        if isinstance(outcome, Delivered):
            self._boxes[name] = mailbox.delivered(box, now)
            self._known[name] = replace(known, delivered=known.delivered + letter.count)
            if self._told.pop(name, None) is not None:
                self._say(f"{name}: it can be told again")
            return
        self._boxes[name], over = mailbox.failed(
            box, name, now, again=outcome.again, after=outcome.after
        )
        if over:
            known = replace(known, given_up=known.given_up + letter.count)
            tries = f" after {letter.tries + 1} tries" if outcome.again else ""
            text = f'gave up on "{title(letter)}"{tries}: {outcome.words}'
            self._say_of(name, outcome.words, text)
        self._known[name] = known

    # Writing down ----------------------------------------------------------------------------

    def _write(self) -> None:
        targets = {name: self._remembered(name, box) for name, box in self._boxes.items()}
        memory = Memory(self._seq, targets)
        if memory == self._written:
            return
        try:
            remember(self._state_dir, memory)
        except OSError as error:
            text = f"cannot write down what is told: {error.strerror}"
            self._say_of("", text, text)
        else:
            self._written = memory

    def _remembered(self, name: str, box: Mailbox) -> Remembered:
        return replace(self._known[name], letters=mailbox.letters(box), dropped=box.dropped)

    def _say_of(self, name: str, why: str, text: str) -> None:
        """Tell the journal, once for each reason until the target can be told again."""
        if self._told.get(name) != why:
            self._told[name] = why
            self._say(f"{name}: {text}" if name else text)

    def _say(self, text: str) -> None:
        with contextlib.suppress(queue.Full):
            self._complaints.put_nowait(text)

    def _complain(self) -> None:
        client = ControlClient(self._state_dir, timeout=5.0)
        while True:
            text = self._complaints.get()
            with contextlib.suppress(DaemonNotRunning, ControlError):
                client.post("/v1/courier", {"text": f"notifications: {text}"})


def _acquire(state_dir: str) -> DaemonLock:
    """Take the place of an earlier courier, which is asked to go. Raises LockHeldError."""
    deadline = time.monotonic() + TAKE_OVER
    while True:
        try:
            return DaemonLock.acquire(f"{state_dir}/{LOCK}")
        except LockHeldError as held:
            if time.monotonic() > deadline:
                raise
            holder = None if held.pid is None else identify(held.pid)
            if holder is not None and is_alive(holder):
                terminate(holder)
        time.sleep(0.05)


def main(arguments: list[str]) -> int:
    """Do what the errand in the state folder says; return the exit code."""
    (state_dir,) = arguments
    try:
        lock = _acquire(state_dir)
        errand = take_up(state_dir)
    except (LockHeldError, UnsafePathError, OSError, ValueError) as error:
        print(f"courier: {error}", file=sys.stderr)
        return 1
    memory = recall(state_dir)
    if memory is None or memory.seq > last_seq(state_dir):
        # The first courier; or the journal was taken away.
        memory = Memory(errand.begin, {} if memory is None else memory.targets)
    courier = Courier(state_dir, errand, memory)
    signal.signal(signal.SIGTERM, lambda *_: courier.ask_to_end())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    courier.run()
    lock.release()
    # Not `sys.exit`: a delivery that hangs in a thread must hold up nobody.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
