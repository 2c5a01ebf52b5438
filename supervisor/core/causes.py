"""What an entry of the journal is, and on which earlier entries a decision rests.

The link is made from topic, run and words, by one table: a decision repeats its cause in words, and
what it cannot rest on (another run, an earlier streak of another probe) is told from them.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum

from supervisor.core.effects import Topic


class Kind(StrEnum):
    """What an entry is."""

    ASKED = "asked"
    """Somebody's word: an operator's, a client's, the configuration's."""
    SEEN = "seen"
    """It happened."""
    DECIDED = "decided"
    """The supervisor's own decision, on what was seen."""


ASKED_WORDS = ("start asked", "stop asked", "restart asked")
"""How the words of a service begin when somebody's wish, not a verdict, moves it."""
AS_ASKED_AGAIN = "it works as asked again"
"""What is told when a service has no notice any more."""

KINDS: Mapping[str, Kind] = {
    Topic.ASKED: Kind.ASKED,
    Topic.BLOCKED: Kind.DECIDED,
    Topic.STARTED: Kind.SEEN,
    Topic.ADOPTED: Kind.DECIDED,
    Topic.SPAWN_FAILED: Kind.SEEN,
    Topic.READY: Kind.SEEN,
    Topic.UNREADY: Kind.SEEN,
    Topic.PROBE_FAILED: Kind.SEEN,
    Topic.NOTICE: Kind.SEEN,
    Topic.BUSY: Kind.SEEN,
    Topic.DUMPED: Kind.SEEN,
    Topic.REMEDY: Kind.DECIDED,
    Topic.REMEDY_SKIPPED: Kind.DECIDED,
    Topic.STOPPING: Kind.DECIDED,
    Topic.KILLED: Kind.DECIDED,
    Topic.EXITED: Kind.SEEN,
    Topic.LEFT_OVER: Kind.SEEN,
    Topic.RESTARTING: Kind.DECIDED,
    Topic.GAVE_UP: Kind.DECIDED,
    Topic.STOPPED: Kind.SEEN,
    Topic.COMPLETED: Kind.DECIDED,
    Topic.ROLLING: Kind.ASKED,
    Topic.ROLLED: Kind.DECIDED,
    Topic.ROLL_FAILED: Kind.DECIDED,
    Topic.RETIRED: Kind.SEEN,
    Topic.REMOVED: Kind.DECIDED,
    Topic.STALE: Kind.SEEN,
    Topic.PID_FILE: Kind.SEEN,
    Topic.TROUBLE: Kind.SEEN,
    Topic.BEGAN: Kind.SEEN,
    Topic.UPGRADED: Kind.SEEN,
    Topic.UPGRADE_REFUSED: Kind.DECIDED,
    Topic.RELOADED: Kind.ASKED,
    Topic.DAEMON: Kind.ASKED,
    Topic.ENDED: Kind.SEEN,
    Topic.RESUMED: Kind.SEEN,
    Topic.CLOCK: Kind.SEEN,
}

_PROBES = (Topic.PROBE_FAILED, Topic.UNREADY)
_ENDS = (Topic.EXITED, Topic.SPAWN_FAILED)
_AT_ONCE = (Topic.REMEDY, Topic.ROLLED, Topic.ROLL_FAILED)
"""Decisions that end a run, this one or another, in the same turn or not at all."""
_GROUNDS: Mapping[str, tuple[Topic, ...]] = {
    Topic.STOPPING: (*_PROBES, *_AT_ONCE),
    Topic.KILLED: (Topic.STOPPING,),
    Topic.RESTARTING: (Topic.STOPPING, *_ENDS),
    Topic.GAVE_UP: (Topic.STOPPING, *_ENDS),
    Topic.COMPLETED: _ENDS,
    Topic.REMEDY: (*_PROBES, *_ENDS),
    Topic.REMEDY_SKIPPED: (*_PROBES, *_ENDS),
    Topic.ROLLED: (Topic.READY,),
    Topic.ROLL_FAILED: (*_PROBES, *_ENDS),
    Topic.REMOVED: (Topic.STOPPED,),
}
_GROUNDS_OF_DAEMON: Mapping[str, tuple[Topic, ...]] = {Topic.ADOPTED: (Topic.BEGAN, Topic.UPGRADED)}
"""What of the supervisor itself a decision about a service rests on."""
_KEPT = frozenset(
    topic
    for table in (_GROUNDS, _GROUNDS_OF_DAEMON)
    for topics in table.values()
    for topic in topics
)


def kind_of(topic: str, text: str) -> Kind:
    """Return what an entry is; one of a topic that is not known here was seen."""
    if text.startswith(ASKED_WORDS):
        return Kind.ASKED
    return KINDS.get(topic, Kind.SEEN)


_Ground = tuple[int, int | None, str]
"""Number, run and text of an entry."""


class Causes:
    """The latest entries of each service on which a decision may come to rest.

    Bounded: one of each topic and service. What is forgotten costs a link and nothing else.
    """

    def __init__(self) -> None:
        self._latest: dict[str, dict[str, _Ground]] = {}

    def note(
        self, seq: int, unit: str, topic: str, text: str, run: int | None
    ) -> tuple[Kind, tuple[int, ...]]:
        """Take an entry in; return its kind and, of a decision, what it rests on, ascending."""
        kind = kind_of(topic, text)
        because: tuple[int, ...] = ()
        if kind is Kind.DECIDED:
            because = tuple(sorted(self._grounds(seq, unit, topic, text, run)))
        if topic == Topic.REMOVED:
            self._latest.pop(unit, None)
        elif topic in _KEPT:
            self._latest.setdefault(unit, {})[topic] = (seq, run, text)
        return kind, because

    def _grounds(
        self, seq: int, unit: str, topic: str, text: str, run: int | None
    ) -> Iterator[int]:
        of_unit = self._latest.get(unit, {})
        for wanted in _GROUNDS.get(topic, ()):
            ground = of_unit.get(wanted)
            if ground is None:
                continue
            at_once = ground[0] == seq - 1
            if at_once if wanted in _AT_ONCE else _bears(wanted, ground, topic, text, run):
                yield ground[0]
        of_daemon = self._latest.get("", {})
        begun = [of_daemon[t][0] for t in _GROUNDS_OF_DAEMON.get(topic, ()) if t in of_daemon]
        if begun:
            yield max(begun)


def _bears(wanted: Topic, ground: _Ground, topic: str, text: str, run: int | None) -> bool:
    """Tell whether a decision can rest on this entry, the latest of its topic."""
    _, its_run, its_text = ground
    if its_run != run and None not in (its_run, run):
        return False
    if wanted in _PROBES:
        # "liveness probe: no answer" and "failed its liveness probe 3 times in a row: no answer".
        return its_text.partition(" probe")[0] + " probe" in text
    if wanted is Topic.STOPPING:
        return topic == Topic.KILLED or its_text in text
    return True
