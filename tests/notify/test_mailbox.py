"""When a target is told what: holding back, folding, storms, retries, and their bounds."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.notify import mailbox
from supervisor.notify.mailbox import (
    HOLD,
    LATE,
    LONGEST_HOLD,
    MOST,
    PATIENCE,
    RATE,
    SUMMARY,
    TRIES,
    WINDOW,
    Letter,
    Mailbox,
)
from tests.notify.letters import letter

WALL = 1000.0
"""When every letter here is written, unless a test is about its age."""


class Target:
    """A mailbox whose letters all arrive, on a clock of its own."""

    def __init__(self) -> None:
        self.box = Mailbox()
        self.now = 0.0
        self.told: list[Letter] = []

    def put(self, *letters: Letter, delay: float = 0.0) -> "Target":
        for one in letters:
            self.box = mailbox.put(self.box, one, self.now, delay)
        return self

    def at(self, now: float, wall: float = WALL) -> "Target":
        """Let time pass, and deliver whatever is due meanwhile."""
        while True:
            due = mailbox.next_at(self.box, self.now)
            if due is None or max(due, self.now) > now:
                self.now = now
                return self
            self.now = max(due, self.now)
            self.box, taken = mailbox.take(self.box, self.now, wall)
            assert taken is not None, "what is due is given"
            self.told.append(taken)
            self.box = mailbox.delivered(self.box, self.now)

    def counts(self) -> list[tuple[str, str, int]]:
        return [(one.service, one.event, one.count) for one in self.told]


def services(count: int) -> list[Letter]:
    return [letter(f"s{n}", seq=n) for n in range(count)]


def test_the_first_is_told_at_once() -> None:
    assert Target().put(letter()).at(0.0).told == [letter()]


def test_what_repeats_is_held_back_and_counted() -> None:
    target = Target().put(letter(seq=1)).at(0.0)
    target.put(letter(seq=2, at=1001.0)).at(10.0).put(letter(seq=3, at=1002.0, text="newest"))
    assert len(target.at(HOLD - 1).told) == 1
    folded = target.at(HOLD).told[1]
    assert (folded.count, folded.seq, folded.since, folded.at) == (2, 3, 1001.0, 1002.0)
    assert folded.text == "newest"


def test_what_goes_on_repeating_is_held_back_for_longer_each_time() -> None:
    target = Target()
    for second in range(3600):
        target.at(float(second)).put(letter(seq=second))
    target.at(3600.0)
    assert (
        sum(one.count for one in target.told)
        + sum(one.count for one in mailbox.letters(target.box))
        == 3600
    )
    # At 0, 60, 180, 420, 900, and every 480 s from then on.
    assert len(target.told) == 5 + int((3600 - 900) // LONGEST_HOLD)


def test_after_a_quiet_time_it_is_told_at_once_again() -> None:
    target = Target().put(letter(seq=1)).at(0.0).put(letter(seq=2)).at(HOLD)
    target.at(HOLD + 2 * HOLD).put(letter(seq=3))
    assert len(target.at(target.now).told) == 3
    target.put(letter(seq=4))
    assert len(target.at(target.now + HOLD).told) == 4, "the longer pause is forgotten"


def test_other_events_and_other_services_are_not_held_back() -> None:
    target = Target().put(letter("tts", "crashed")).at(0.0)
    target.put(letter("tts", "failed"), letter("stt", "crashed")).at(0.0)
    assert target.counts() == [("tts", "crashed", 1), ("tts", "failed", 1), ("stt", "crashed", 1)]


def test_the_end_of_the_supervisor_is_not_the_like_of_its_beginning() -> None:
    began, ended = (
        replace(letter("", "daemon"), topic=topic) for topic in ("daemon-started", "daemon-stopped")
    )
    assert Target().put(began).at(0.0).put(ended).at(0.0).told == [began, ended]


def test_a_storm_is_told_one_by_one_and_then_all_the_rest_in_one() -> None:
    target = Target().put(*services(33)).at(0.0)
    assert len(target.told) == RATE
    assert [one.event for one in target.told[:-1]] == ["failed"] * (RATE - 1)
    rest = target.told[-1]
    assert (rest.event, rest.count, len(rest.kinds)) == (SUMMARY, 33 - RATE + 1, 33 - RATE + 1)
    assert rest.seq == 32
    target.put(*[letter(f"t{n}", seq=100 + n) for n in range(5)])
    assert len(target.at(WINDOW - 1).told) == RATE
    assert len(target.at(WINDOW).told) == RATE + 5


def test_what_is_late_is_told_in_one() -> None:
    target = Target().put(*services(3), letter("new", at=WALL + LATE))
    target.at(0.0, wall=WALL + LATE + 1)
    assert target.counts() == [("", SUMMARY, 3), ("new", "failed", 1)]


def test_one_that_is_late_is_told_as_it_is() -> None:
    target = Target().put(letter())
    assert target.at(0.0, wall=WALL + 2 * LATE).told == [letter()]


def test_a_summary_in_a_summary_keeps_its_counts() -> None:
    inner = mailbox.summary([letter("a"), replace(letter("b"), count=2)])
    outer = mailbox.summary([inner, letter("b")])
    assert outer.kinds == (("b", "failed", 3), ("a", "failed", 1))
    assert outer.count == 4


def test_beyond_its_size_the_oldest_is_dropped_and_counted() -> None:
    box = Mailbox()
    for one in services(MOST + 7):
        box = mailbox.put(box, one, 0.0)
    assert len(mailbox.letters(box)) == MOST
    assert box.dropped == 7
    assert mailbox.letters(box)[0].service == "s7"


def test_what_turned_out_to_be_wrong_is_withdrawn() -> None:
    target = Target().put(letter("tts", "recovered"), letter("stt", "recovered"), delay=10.0)
    target.at(9.0)
    target.box = mailbox.withdraw(target.box, "tts", "recovered")
    assert target.at(10.0).counts() == [("stt", "recovered", 1)]


def test_at_the_end_nothing_is_held_back() -> None:
    target = Target().put(letter(seq=1)).at(0.0).put(letter(seq=2))
    target.box = mailbox.hold_nothing_back(target.box)
    assert [one.seq for one in target.at(0.0).told] == [1, 2]


def test_an_earlier_courier_has_left_letters() -> None:
    left = (replace(letter("a"), tries=3), letter("b"))
    box = mailbox.restored(left, dropped=4)
    assert mailbox.letters(box) == left
    assert box.dropped == 4
    box, taken = mailbox.take(box, 0.0, WALL)
    assert taken == left[0]


# Trying again --------------------------------------------------------------------------------


def try_for_ever(after: float | None = None) -> tuple[Mailbox, list[float]]:
    """Let every try of one letter fail; return the mailbox and when the tries were."""
    box = mailbox.put(Mailbox(), letter(), 0.0)
    times: list[float] = []
    now = 0.0
    while True:
        box, taken = mailbox.take(box, now, WALL)
        assert taken is not None
        assert mailbox.next_at(box, now) is None, "one at a time"
        assert mailbox.take(box, now, WALL)[1] is None
        times.append(now)
        box, over = mailbox.failed(box, "phone", now, again=True, after=after)
        if over:
            return box, times
        again = mailbox.next_at(box, now)
        assert again is not None
        assert mailbox.take(box, (now + again) / 2, WALL)[1] is None
        now = again


def test_a_letter_is_tried_again_after_longer_and_longer_pauses_and_given_up() -> None:
    box, times = try_for_ever()
    assert mailbox.letters(box) == ()
    assert len(times) == TRIES
    pauses = [b - a for a, b in pairwise(times)]
    assert pauses == sorted(pauses)
    assert pauses[0] < 2
    assert 120 < times[-1] < PATIENCE


@pytest.mark.parametrize(("after", "tries"), [(7.0, TRIES), (300.0, 4), (1e9, 4)])
def test_the_other_side_may_ask_for_patience_within_ours(after: float, tries: int) -> None:
    _, times = try_for_ever(after)
    assert len(times) == tries
    assert times[-1] <= PATIENCE
    assert times[1] >= min(after, 300.0)


def test_what_no_try_can_help_is_given_up_at_once() -> None:
    box = mailbox.put(mailbox.put(Mailbox(), letter("a"), 0.0), letter("b"), 0.0)
    box, _ = mailbox.take(box, 0.0, WALL)
    box, over = mailbox.failed(box, "phone", 0.0, again=False)
    assert over
    assert [one.service for one in mailbox.letters(box)] == ["b"]
    assert mailbox.take(box, 0.0, WALL)[1] is None, "not in a rush"
    assert mailbox.next_at(box, 0.0) is not None


def test_pauses_of_targets_differ() -> None:
    pauses = {mailbox.retry_pause(1, f"t{n}", 1) for n in range(20)}
    assert len(pauses) == 20
    assert mailbox.retry_pause(3, "t", 1) == mailbox.retry_pause(3, "t", 1)


def test_while_one_is_tried_again_the_others_wait() -> None:
    box = mailbox.put(mailbox.put(Mailbox(), letter("a"), 0.0), letter("b"), 0.0)
    box, _ = mailbox.take(box, 0.0, WALL)
    box, _ = mailbox.failed(box, "phone", 0.0, again=True)
    at = mailbox.next_at(box, 0.0)
    assert at is not None
    box, taken = mailbox.take(box, at, WALL)
    assert taken is not None
    assert (taken.service, taken.tries) == ("a", 1)


# Whatever happens ----------------------------------------------------------------------------

Step = tuple[str, float, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "take", "deliver", "fail", "refuse", "wait", "withdraw"]),
        st.floats(0, 700),
        st.integers(0, 14),
    ),
    max_size=120,
)


@given(STEPS)
def test_whatever_happens_bounds_hold_and_nothing_is_lost_unseen(steps: list[Step]) -> None:
    box, now = Mailbox(), 0.0
    came = gone = 0
    arrived: list[float] = []
    for seq, (what, span, which) in enumerate(steps):
        match what:
            case "put":
                one = letter(f"s{which % 7}", "failed" if which < 7 else "crashed", seq, WALL + now)
                box = mailbox.put(box, one, now)
                came += 1
            case "withdraw":
                before = sum(one.count for one in mailbox.letters(box))
                box = mailbox.withdraw(box, f"s{which % 7}", "failed")
                gone += before - sum(one.count for one in mailbox.letters(box))
            case "take":
                box, _ = mailbox.take(box, now, WALL + now)
            case "deliver" if box.sending and box.current is not None:
                gone += box.current.count
                box = mailbox.delivered(box, now)
                arrived.append(now)
            case "fail" | "refuse" if box.sending and box.current is not None:
                count = box.current.count
                box, over = mailbox.failed(box, "t", now, again=what == "fail", after=span)
                gone += count if over else 0
            case "wait":
                now += span
            case _:
                pass  # nothing is on its way
        left = mailbox.letters(box)
        assert came == gone + box.dropped + sum(one.count for one in left)
        assert len(left) <= MOST + 1
        keys = [waiting.letter.key() for waiting in box.waiting]
        assert len(set(keys)) == len(keys)
        assert len([at for at in arrived if now < at + WINDOW]) <= RATE
    # Nothing waits for ever: if all arrives from now on, all is told.
    box = mailbox.delivered(box, now) if box.sending else box
    for _ in range(3 * MOST):
        at = mailbox.next_at(box, now)
        if at is None:
            break
        assert at - now <= LONGEST_HOLD + WINDOW
        now = max(at, now)
        box, taken = mailbox.take(box, now, WALL + now)
        assert taken is not None
        box = mailbox.delivered(box, now)
    assert mailbox.letters(box) == ()
