"""The last episode of one service, told from the journal. Pure.

An episode is what belongs together: it begins with what somebody asked or with the first sign of
trouble, and ends when nothing has happened for `CALM` seconds while the service was settled.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from supervisor.cli import wording
from supervisor.cli.services import notice_of, state_color
from supervisor.cli.terminal import Paint, printable
from supervisor.control.messages import ServiceStatus
from supervisor.core.effects import Topic
from supervisor.journal import Entry

CALM = 600.0
"""Seconds without an entry after which what comes next is another story."""
LONGEST = 14
"""Lines of a timeline; what lies in the middle of a longer one is counted."""
_FIRST = 3

_SETTLED = (
    Topic.STARTED,
    Topic.ADOPTED,
    Topic.READY,
    Topic.NOTICE,
    Topic.STOPPED,
    Topic.COMPLETED,
    Topic.GAVE_UP,
    Topic.ROLLED,
    Topic.ROLL_FAILED,
    Topic.RETIRED,
)
_DECIDED = (
    Topic.STOPPING,
    Topic.KILLED,
    Topic.RESTARTING,
    Topic.GAVE_UP,
    Topic.COMPLETED,
    Topic.ROLLED,
    Topic.ROLL_FAILED,
)
"""What the supervisor decided, as opposed to what it saw or was told."""

_BAD = (
    Topic.EXITED,
    Topic.SPAWN_FAILED,
    Topic.LEFT_OVER,
    Topic.PROBE_FAILED,
    Topic.ROLL_FAILED,
)
_ASKED = ("stop asked", "restart asked")
"""How the words begin when somebody's wish, not a verdict, ends a run."""
_NEAR = 4
"""Entries back in which a decision's cause is looked for: probe, stop, kill, exit."""

_STATE_AFTER = {
    Topic.ASKED: "starting",
    Topic.BLOCKED: "blocked",
    Topic.STARTED: "started",
    Topic.ADOPTED: "started",
    Topic.SPAWN_FAILED: "failed",
    Topic.READY: "healthy",
    Topic.UNREADY: "unready",
    Topic.PROBE_FAILED: "healthy",
    Topic.NOTICE: "healthy",
    Topic.STOPPING: "stopping",
    Topic.KILLED: "stopping",
    Topic.EXITED: "ended",
    Topic.LEFT_OVER: "failed",
    Topic.RESTARTING: "backoff",
    Topic.GAVE_UP: "failed",
    Topic.STOPPED: "stopped",
    Topic.COMPLETED: "completed",
    # In a rolling restart one run is in service all the time.
    Topic.ROLLING: "healthy",
    Topic.ROLLED: "healthy",
    Topic.ROLL_FAILED: "healthy",
    Topic.RETIRED: "healthy",
    Topic.REMOVED: "removed",
    Topic.DUMPED: "stopping",
    Topic.REMEDY: "backoff",
    Topic.REMEDY_SKIPPED: "backoff",
    Topic.STALE: "healthy",
    Topic.PID_FILE: "healthy",
    Topic.TROUBLE: "healthy",
    Topic.BEGAN: "started",
    Topic.UPGRADED: "started",
    Topic.UPGRADE_REFUSED: "started",
    Topic.RELOADED: "started",
    Topic.DAEMON: "stopping",
    Topic.ENDED: "stopped",
    Topic.RESUMED: "started",
    Topic.CLOCK: "started",
}


@dataclass(frozen=True, slots=True)
class Episode:
    """What happened last to one service."""

    service: str
    entries: tuple[Entry, ...]
    """Oldest first; empty if nothing was ever written about it."""


def last_episode(service: str, journal: Sequence[Entry]) -> Episode:
    """Return the last episode of a service; `journal` is oldest first, of all services."""
    entries = [entry for entry in journal if entry.unit == service]
    begin = 0
    for at in range(1, len(entries)):
        before, entry = entries[at - 1], entries[at]
        calm = entry.at - before.at >= CALM and before.topic in _SETTLED
        if calm or _begins(entry, before):
            begin = at
    return Episode(service, tuple(entries[begin:]))


def _begins(entry: Entry, before: Entry) -> bool:
    """Tell whether somebody's word opens a new chapter here.

    A running service that is asked to stop or restart notes `stopping`, an idle one `asked` or
    `stopped`, one that is to be replaced while it runs `rolling`; all four carry the words.
    """
    if entry.topic in (Topic.STOPPING, Topic.STOPPED, Topic.ROLLING):
        return entry.text.startswith(_ASKED)
    if entry.topic != Topic.ASKED or before.topic == Topic.BLOCKED:
        return False
    return before.topic in _SETTLED or before.topic == Topic.RESTARTING


def headline(episode: Episode, status: ServiceStatus | None, now: float) -> str:
    """Return the present state, and how often and why it was restarted, in a few sentences.

    `status` is None where no daemon runs; then the journal's last words must do.
    """
    name = printable(episode.service)
    if status is not None:
        sentences = [_present(name, status, now)]
    elif episode.entries:
        last = episode.entries[-1]
        state = _STATE_AFTER.get(Topic(last.topic), last.topic) if _known(last) else last.topic
        sentences = [
            f"No supervisor runs. When the last one wrote of {name}, at "
            f"{wording.clock(last.at, now)}, it was {state}: {printable(last.text)}."
        ]
    else:
        sentences = [f"No supervisor runs, and nothing is written of {name}."]
    sentences += _restarts(episode, now)
    return " ".join(sentences)


def _known(entry: Entry) -> bool:
    return entry.topic in set(Topic)


def _present(name: str, status: ServiceStatus, now: float) -> str:
    when = wording.clock(now - status["since"], now)
    since = f"since {when} ({wording.age(status['since'])})"
    reason = printable(status["reason"])
    notice = notice_of(status)
    match status["state"]:
        case "healthy" | "running" if notice:
            return f"{name} is {status['state']} {since}, but not as asked: {_sentence(notice)}"
        case "healthy" | "running" | "completed":
            text = f"{name} is {status['state']} {since}"
            return f"{text}." if status["state"] != "completed" else f"{text}: {reason}."
        case "backoff":
            return f"{name} waits to be started again {since}: {reason}."
        case "failed":
            return (
                f"{name} has failed {since}: {reason}. It stays down until somebody starts it: "
                f"atlasctl start {name}."
            )
        case state:
            return f"{name} is {state} {since}: {reason}."


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def _restarts(episode: Episode, now: float) -> list[str]:
    restarts = [at for at, e in enumerate(episode.entries) if e.topic == Topic.RESTARTING]
    if not restarts:
        return []
    at = restarts[-1]
    last = episode.entries[at]
    cause = printable(last.text.partition("; restart ")[0])
    # "run 3 was killed", but "run 3's liveness probe failed".
    possessive = "'s" if cause.split()[1:2] == ["probe"] else ""
    run = f"run {last.run}{possessive} " if last.run is not None else ""
    when = wording.clock(last.at, now)
    again = next((e for e in episode.entries[at:] if e.topic == Topic.STARTED), None)
    then = f"; started again {wording.duration(again.at - last.at)} later" if again else ""
    if len(restarts) == 1:
        return [f"It was restarted once: {run}{cause} at {when}{then}."]
    span = wording.duration(last.at - episode.entries[restarts[0]].at)
    often = f"It was restarted {wording.times(len(restarts))} within {span}"
    return [f"{often}, the last time because {run}{cause} at {when}{then}."]


def timeline(episode: Episode, now: float, paint: Paint) -> list[str]:
    """Return a line for each entry: when, what; an arrow before what was decided on it."""
    entries = episode.entries
    missing = len(entries) - LONGEST + 1 if len(entries) > LONGEST else 0
    lines = [_line(entry, entries[:at], now, paint) for at, entry in enumerate(entries)]
    if missing:
        left_out = f"… {missing} more: atlasctl events -n 1000 {episode.service}"
        lines[_FIRST : _FIRST + missing] = [paint(left_out, "dim")]
    return lines


def _line(entry: Entry, before: Sequence[Entry], now: float, paint: Paint) -> str:
    text = entry.text
    if entry.topic in _DECIDED:
        # The decision repeats its cause, which stands on a line above.
        for cause in before[-_NEAR:]:
            text = text.removeprefix(f"{cause.text}; ")
    asked = text.startswith(_ASKED)
    words = printable(text)
    if entry.topic in _DECIDED and not asked:
        words = f"  → {words}"
    elif entry.topic == Topic.EXITED:
        words = f"run {entry.run} {words}" if entry.run is not None else words
    elif entry.topic == Topic.READY:
        words = f"healthy: {words}"
    elif entry.topic == Topic.UNREADY:
        words = f"not ready: {words}"
    elif entry.topic == Topic.NOTICE:
        words = f"notice: {words}"
    color = state_color(_STATE_AFTER[Topic(entry.topic)]) if _known(entry) else "dim"
    if entry.topic in _BAD:
        color = "red"
    elif entry.topic == Topic.NOTICE:
        color = "yellow"
    plain = asked or entry.topic in (Topic.ASKED, Topic.STARTED, Topic.BLOCKED)
    stamp = paint(wording.clock(entry.at, now), "dim")
    return f"{stamp}  {words if plain else paint(words, color)}"


def event_line(entry: Entry, now: float, paint: Paint) -> str:
    """Return one entry of the journal as `events` lists it."""
    unit = printable(entry.unit) or "atlasctl"
    color = state_color(_STATE_AFTER[Topic(entry.topic)]) if _known(entry) else "dim"
    stamp = paint(wording.clock(entry.at, now), "dim")
    return f"{stamp}  {unit}  {paint(entry.topic, color)}  {printable(entry.text)}"
