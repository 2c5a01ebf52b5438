"""One try to tell one target one letter, whatever the way."""

import os
import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, assert_never

from supervisor.core.notify import Channel, Desktop, Hook, Target, Webhook
from supervisor.notify.errand import PACKAGE
from supervisor.notify.local import DESKTOP_TIMEOUT, run_hook, show
from supervisor.notify.mailbox import Letter
from supervisor.notify.outcome import Missed, Outcome

SLACK: Final = 0.5
"""Seconds beyond its limit after which a delivery is taken for hung."""


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """A letter on its way."""

    target: Target
    letter: Letter
    host: str
    """The name of this machine, for those who have several."""
    deadline: float = 0.0
    """When it is taken for hung, on the monotonic clock."""
    cwd: str | None = None
    """Where a command runs; None: where we do."""

    def carry_out(self) -> Outcome:
        """Try it once; blocks for about `limit` seconds. Raises nothing."""
        try:
            return self._carry_out()
        except Exception as error:  # noqa: BLE001 - one try's loss; the text may tell a secret
            return Missed(f"{type(error).__name__} within atlasctl", again=True)

    def _carry_out(self) -> Outcome:
        channel = self.target.channel
        match channel:
            case Webhook():
                # Only here: it costs 20 MB, and mostly nothing happens.
                from supervisor.notify.webhook import post

                return post(channel, self.letter, self.host)
            case Hook():
                return run_hook(channel, self.letter, self.host, surroundings(), self.cwd)
            case Desktop():
                return show(self.letter, surroundings())
            case _:
                assert_never(channel)


def try_within_its_limit(delivery: Delivery) -> Outcome:
    """Carry it out; what takes too long is left to itself, in a thread that holds up no end."""
    outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
    threading.Thread(target=lambda: outcomes.put(delivery.carry_out()), daemon=True).start()
    within = limit(delivery.target.channel)
    try:
        return outcomes.get(timeout=within + SLACK)
    except queue.Empty:
        return no_answer(within)


def no_answer(within: float) -> Missed:
    """Return what came of a try that did not come back."""
    return Missed(f"no answer within {within:g} s", again=True)


def limit(channel: Channel) -> float:
    """Return the seconds that a try may take."""
    match channel:
        case Webhook(timeout=timeout) | Hook(timeout=timeout):
            return timeout
        case Desktop():
            return DESKTOP_TIMEOUT
        case _:
            assert_never(channel)


def surroundings() -> Mapping[str, str]:
    """Return the environment for commands: ours, without what we were started with."""
    return {n: v for n, v in os.environ.items() if (n, v) != ("PYTHONPATH", PACKAGE)}
