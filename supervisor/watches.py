"""What the sink is to look for in each service's output, and what it tells of it.

The sink may be told of a run before its lines come, and again when it is a new one; what lay in a
FIFO while there was no sink may be of the run before or of the one after, and then says so (None).
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from supervisor.logs.channel import Reply

MOST_EARLY = 1000
"""Matches kept for services that nobody has asked about yet; a sink keeps no more either."""

NOTHING_OF_RUNS: Mapping[str, object] = {}
"""In an attach: whose lines come stays as it was."""


@dataclass(frozen=True, slots=True)
class Match:
    """Lines of a service matched a pattern; at most one a second is told for pattern and run."""

    pattern: str
    line: str
    """The first of them: its first 300 characters, without escape sequences."""
    run: int | None
    """Which run printed them; None: not known. Of two at once, the one that began later."""
    count: int
    """How many there were since the last that was told."""


@dataclass(slots=True)
class _Begun:
    """A run that began, and whether a sink knows it."""

    run: int
    known: bool = False

    def learn(self, done: asyncio.Task[Reply | None]) -> None:
        self.known = self.known or (not done.cancelled() and done.result() is not None)


class Watches:
    """By service: the patterns, the present run, and what came before anybody asked."""

    def __init__(self, matched: Callable[[str, Match], None]) -> None:
        """`matched` is called on the loop, with the name of the service."""
        self._matched = matched
        self._patterns: dict[str, tuple[str, ...]] = {}
        self._begun: dict[str, _Begun] = {}
        self._early: dict[tuple[str, str], Match] = {}
        """Of an earlier daemon's services: a sink tells all at once to who has subscribed."""

    def set(self, name: str, patterns: tuple[str, ...]) -> bool:
        """Look for these only; what came early is told soon. False: they are the same."""
        if self._patterns.get(name) == patterns:
            return False
        self._patterns[name] = patterns
        early = [self._early.pop(key) for key in list(self._early) if key[0] == name]
        for match in early:
            if match.pattern in patterns:
                asyncio.get_running_loop().call_soon(self._matched, name, match)
        return True

    def forget(self, name: str) -> None:
        """Look for nothing any more: the service is gone."""
        if name in self._patterns:
            self._patterns[name] = ()  # its last words are nothing that came early
        self._begun.pop(name, None)

    def patterns(self, name: str) -> dict[str, object]:
        """Return the field of an attach that says what is to be looked for."""
        return {"patterns": self._patterns.get(name, ())}

    def begin(self, name: str, run: int, answer: asyncio.Task[Reply | None] | None) -> None:
        """Take note that a run begins; `answer` is that of the sink, if there is one."""
        self._begun[name] = _Begun(run)
        self.tell(name, answer)

    def runs(self, name: str) -> tuple[Mapping[str, object], ...]:
        """Return what a new sink is to be told of runs: a field for each attach, in this order.

        First whose lines may lie in the FIFO, then whose come from now on.
        """
        begun = self._begun.get(name)
        if begun is None:
            return (NOTHING_OF_RUNS,)
        if begun.known:
            return ({"run": begun.run},)
        return ({"run": None}, {"run": begun.run})

    def tell(self, name: str, answer: asyncio.Task[Reply | None] | None) -> None:
        """Take note that a sink was told of the present run, as soon as it says yes."""
        begun = self._begun.get(name)
        if begun is not None and answer is not None:
            answer.add_done_callback(begun.learn)

    def told(self, said: object) -> None:
        """Take what the sink says of a match."""
        match said:
            case {
                "name": str(name),
                "pattern": str(pattern),
                "line": str(line),
                "run": int() | None as run,
                "times": int(times),
            }:
                match = Match(pattern, line, run, times)
            case _:
                return  # a sink of another version, which means something else
        watched = self._patterns.get(name)
        if watched is None:
            self._early[name, pattern] = match
            if len(self._early) > MOST_EARLY:
                del self._early[next(iter(self._early))]
        elif pattern in watched:
            self._matched(name, match)
