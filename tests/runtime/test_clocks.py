"""Three clocks that the test moves: what they show of sleep and of a time that was set."""

from dataclasses import dataclass

import pytest

from supervisor.clocks import NAP, STEP, Clocks, Lapse, elapsed


@dataclass
class Hands:
    """The clocks of a machine, all in the test's hand."""

    steady: float = 100.0
    elapsed: float = 5000.0
    wall: float = 1.7e9

    def clocks(self) -> Clocks:
        return Clocks(lambda: self.steady, lambda: self.elapsed, lambda: self.wall)

    def works(self, seconds: float) -> None:
        self.steady += seconds
        self.elapsed += seconds
        self.wall += seconds

    def sleeps(self, seconds: float) -> None:
        self.elapsed += seconds
        self.wall += seconds

    def is_set(self, seconds: float) -> None:
        self.wall += seconds


def test_time_that_passes_is_nothing_to_tell() -> None:
    hands = Hands()
    clocks = hands.clocks()
    for seconds in (0.0, 0.001, 60.0, 1e6):
        hands.works(seconds)
        assert clocks.look() is None


def test_a_sleep_is_told_once() -> None:
    hands = Hands()
    clocks = hands.clocks()
    hands.sleeps(3600.0)
    assert clocks.look() == Lapse(slept=3600.0)
    hands.works(10.0)
    assert clocks.look() is None


@pytest.mark.parametrize("seconds", [7200.0, -7200.0, STEP, -STEP])
def test_a_time_that_was_set_is_told_once(seconds: float) -> None:
    hands = Hands()
    clocks = hands.clocks()
    hands.is_set(seconds)
    lapse = clocks.look()
    assert lapse is not None
    assert lapse.slept == 0.0
    assert lapse.stepped == pytest.approx(seconds)
    hands.works(10.0)
    assert clocks.look() is None


def test_a_sleep_and_a_time_that_was_set_are_told_apart() -> None:
    hands = Hands()
    clocks = hands.clocks()
    hands.sleeps(600.0)
    hands.is_set(-30.0)
    assert clocks.look() == Lapse(slept=600.0, stepped=-30.0)


def test_what_is_too_little_to_tell_adds_up() -> None:
    hands = Hands()
    clocks = hands.clocks()
    told = []
    for _ in range(10):
        hands.sleeps(NAP / 4)
        told.append(clocks.look())
    assert [lapse.slept for lapse in told if lapse is not None] == [NAP, NAP]


def test_the_clocks_of_this_machine_agree_while_it_is_awake() -> None:
    clocks = Clocks()
    before = elapsed()
    assert clocks.look() is None
    assert elapsed() >= before
