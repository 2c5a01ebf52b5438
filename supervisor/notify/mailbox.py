"""What one target is still to be told, and when: pure.

Four bounds, so that a bad night does not make people turn notifications off:
- What repeats is folded: after one letter about a service and an event, further ones are counted
  and told together, first after `HOLD` seconds, then after twice that, and so on.
- At most `RATE` letters in `WINDOW` seconds; the last of them tells all that is left in one.
- What is older than `LATE` seconds, because nobody could be reached, is told in one.
- A letter is tried `TRIES` times within `PATIENCE` seconds, and at most `MOST` wait.

`now` is monotonic seconds, `wall` Unix seconds, for nothing but the age of a letter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from supervisor.core.jitter import fraction

HOLD: Final = 60.0
LONGEST_HOLD: Final = 480.0
RATE: Final = 10
WINDOW: Final = 60.0
LATE: Final = 600.0
MOST: Final = 100
TRIES: Final = 8
PATIENCE: Final = 900.0
FIRST_PAUSE: Final = 1.0
PAUSE_FACTOR: Final = 2.5
LONGEST_PAUSE: Final = 300.0
JITTER: Final = 0.2
MOST_KINDS: Final = 50
"""Lines of a summary; the rest is counted."""

Key = tuple[str, str, str]
"""Service, event, and of the supervisor's own what it was."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One notification: of one kind of happening, or a summary of several."""

    service: str
    event: str
    """A `Transition`, or `summary`."""
    text: str
    seq: int
    """Of the latest entry that it is about."""
    since: float
    """When the first of them was written; Unix seconds."""
    at: float
    """When the latest was."""
    run: int | None = None
    topic: str = ""
    """Of the supervisor itself: its end is not the like of its beginning."""
    count: int = 1
    kinds: tuple[tuple[str, str, int], ...] = ()
    """Of a summary: service, event, and how often."""
    tries: int = 0

    def key(self) -> Key:
        """Return what it has in common with those that it is counted with."""
        return self.service, self.event, self.topic


SUMMARY: Final = "summary"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A letter that waits for its time."""

    letter: Letter
    due: float
    held: bool = False
    """It is held back because the like of it was told just now."""


@dataclass(frozen=True, slots=True)
class Fold:
    """When the like of a letter was taken up, and for how long the next is held back."""

    taken: float
    hold: float


@dataclass(frozen=True, slots=True)
class Mailbox:
    """All that waits for one target."""

    waiting: tuple[Waiting, ...] = ()
    current: Letter | None = None
    """Taken up, and neither delivered nor given up."""
    sending: bool = False
    began: float = 0.0
    """When the current letter was tried for the first time."""
    not_before: float = 0.0
    """When the next try may be."""
    sent: tuple[float, ...] = ()
    """When letters were delivered, within the last WINDOW."""
    folds: Mapping[Key, Fold] = field(default_factory=dict)
    dropped: int = 0
    """Happenings that found no room."""


def restored(letters: Sequence[Letter], dropped: int) -> Mailbox:
    """Return the mailbox of an earlier courier, its letters due at once."""
    return Mailbox(waiting=tuple(Waiting(letter, 0.0) for letter in letters), dropped=dropped)


def letters(box: Mailbox) -> tuple[Letter, ...]:
    """Return all that is neither delivered nor given up, oldest first."""
    current = () if box.current is None else (box.current,)
    return (*current, *(waiting.letter for waiting in box.waiting))


def put(box: Mailbox, letter: Letter, now: float, delay: float = 0.0) -> Mailbox:
    """Add a letter, or count it where the like of it waits.

    `delay` is how long it may yet turn out to be wrong, and be withdrawn.
    """
    key = letter.key()
    folds = {k: fold for k, fold in box.folds.items() if now < fold.taken + fold.hold}
    alike = next((waiting for waiting in box.waiting if waiting.letter.key() == key), None)
    if alike is not None:
        old = alike.letter
        folded = replace(letter, since=old.since, count=old.count + letter.count)
        others = tuple(w for w in box.waiting if w is not alike)
        waiting = (*others, replace(alike, letter=folded))
    else:
        fold = folds.get(key)
        due = now + delay if fold is None else max(now + delay, fold.taken + fold.hold)
        waiting = (*box.waiting, Waiting(letter, due, held=fold is not None))
    lost = waiting[: max(0, len(waiting) - MOST)]
    dropped = box.dropped + sum(w.letter.count for w in lost)
    return replace(box, waiting=waiting[len(lost) :], folds=folds, dropped=dropped)


def withdraw(box: Mailbox, service: str, event: str) -> Mailbox:
    """Take back what waits and is true no more."""
    waiting = tuple(
        w for w in box.waiting if (w.letter.service, w.letter.event) != (service, event)
    )
    return replace(box, waiting=waiting)


def hold_nothing_back(box: Mailbox) -> Mailbox:
    """Make all due that waits: nothing will come with which it could be told together."""
    return replace(box, waiting=tuple(replace(waiting, due=0.0) for waiting in box.waiting))


def next_at(box: Mailbox, now: float) -> float | None:
    """Return when `take` will give something, or None if nothing waits or one is on its way."""
    if box.sending:
        return None
    if box.current is not None:
        return box.not_before
    if not box.waiting:
        return None
    at = max(box.not_before, min(waiting.due for waiting in box.waiting))
    sent = _recent(box, now)
    return at if len(sent) < RATE else max(at, sent[-RATE] + WINDOW)


def take(box: Mailbox, now: float, wall: float) -> tuple[Mailbox, Letter | None]:
    """Return the letter that is to be sent now, if any, until `delivered` or `failed`."""
    if box.sending or now < box.not_before:
        return box, None
    if box.current is not None:
        return replace(box, sending=True), box.current
    sent = _recent(box, now)
    due = [waiting for waiting in box.waiting if waiting.due <= now]
    free = RATE - len(sent)
    if not due or free <= 0:
        return replace(box, sent=sent), None
    late = [waiting for waiting in due if wall - waiting.letter.at > LATE]
    if len(late) > 1:
        chosen = late
    elif free == 1:
        chosen = due
    else:
        chosen = due[:1]
    letter = chosen[0].letter if len(chosen) == 1 else summary([w.letter for w in chosen])
    folds = dict(box.folds)
    for waiting in chosen:
        key = waiting.letter.key()
        fold = folds.get(key)
        longer = 2 * fold.hold if waiting.held and fold is not None else HOLD
        folds[key] = Fold(now, min(longer, LONGEST_HOLD))
    left = tuple(waiting for waiting in box.waiting if waiting not in chosen)
    box = replace(box, waiting=left, current=letter, began=now, sent=sent, folds=folds)
    return replace(box, sending=True), letter


def delivered(box: Mailbox, now: float) -> Mailbox:
    """Let go of the current letter: it has arrived."""
    return replace(box, current=None, sending=False, sent=(*_recent(box, now), now))


def failed(
    box: Mailbox, target: str, now: float, *, again: bool, after: float | None = None
) -> tuple[Mailbox, bool]:
    """Return the mailbox after a try that failed, and whether the letter is given up.

    `again`: another try may help; `after`: seconds that the other side wants to be left alone.
    """
    letter = box.current
    assert letter is not None, "only what was taken can fail"  # noqa: S101
    tries = letter.tries + 1
    pause = max(retry_pause(tries, target, letter.seq), min(after or 0.0, LONGEST_PAUSE))
    box = replace(box, sending=False, not_before=now + (pause if again else FIRST_PAUSE))
    if not again or tries >= TRIES or now + pause - box.began > PATIENCE:
        return replace(box, current=None), True
    return replace(box, current=replace(letter, tries=tries)), False


def retry_pause(tries: int, target: str, seq: int) -> float:
    """Return the seconds before try `tries` + 1; the same for the same letter each time."""
    plain = min(LONGEST_PAUSE, FIRST_PAUSE * PAUSE_FACTOR ** (tries - 1))
    return plain * (1 - JITTER + 2 * JITTER * fraction(target, seq, tries))


def summary(told: Sequence[Letter]) -> Letter:
    """Return one letter that says what several say."""
    counts: dict[tuple[str, str], int] = {}
    for letter in told:
        kinds = letter.kinds or ((letter.service, letter.event, letter.count),)
        for service, event, count in kinds:
            counts[service, event] = counts.get((service, event), 0) + count
    most = sorted(counts.items(), key=lambda item: -item[1])[:MOST_KINDS]
    return Letter(
        service="",
        event=SUMMARY,
        text="",
        seq=max(letter.seq for letter in told),
        since=min(letter.since for letter in told),
        at=max(letter.at for letter in told),
        count=sum(counts.values()),
        kinds=tuple((service, event, count) for (service, event), count in most),
    )


def _recent(box: Mailbox, now: float) -> tuple[float, ...]:
    return tuple(at for at in box.sent if now < at + WINDOW)
