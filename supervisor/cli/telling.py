"""What the journal's entries say to a person who was not there. Pure.

The journal's own words are for the order in which things were decided; here each line must be
understood by itself: who did it, to which run, and what followed.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from supervisor.cli import wording
from supervisor.cli.episode import Episode
from supervisor.cli.folding import Again, fold
from supervisor.cli.layout import Item
from supervisor.cli.services import state_color
from supervisor.cli.terminal import Paint, printable
from supervisor.core.causes import ASKED_WORDS, Kind
from supervisor.core.effects import Topic
from supervisor.journal import Entry

STATE_AFTER: Mapping[str, str] = {
    Topic.ASKED: "starting",
    Topic.BLOCKED: "blocked",
    Topic.STARTED: "started",
    Topic.ADOPTED: "started",
    Topic.SPAWN_FAILED: "failed",
    Topic.READY: "healthy",
    Topic.UNREADY: "unready",
    Topic.PROBE_FAILED: "healthy",
    Topic.NOTICE: "healthy",
    Topic.BUSY: "busy",
    Topic.DUMPED: "stopping",
    Topic.REMEDY: "backoff",
    Topic.REMEDY_SKIPPED: "backoff",
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
"""In which state an entry leaves a service, so far as its topic tells."""

_RED = (
    Topic.EXITED,
    Topic.SPAWN_FAILED,
    Topic.LEFT_OVER,
    Topic.PROBE_FAILED,
    Topic.UNREADY,
    Topic.ROLL_FAILED,
    Topic.TROUBLE,
)
_YELLOW = (Topic.NOTICE, Topic.DUMPED, Topic.RESUMED, Topic.CLOCK, Topic.BEGAN, Topic.UPGRADED)
_WEIGHTY = (
    Topic.DUMPED,
    Topic.REMEDY,
    Topic.GAVE_UP,
    Topic.SPAWN_FAILED,
    Topic.LEFT_OVER,
    Topic.ROLL_FAILED,
)
"""What must not be cut if it can be avoided."""
_PLAIN = (Topic.ASKED, Topic.STARTED, Topic.BLOCKED, Topic.RELOADED)

_RESTART = re.compile(r"restart (\d+) (in \S+ s|at once)(?: \(failure (\d+) in a row\))?")
_REMEDY = re.compile(r"(remedy .+?), for (.+): (.+?) \(\d+ of at most [^()]+\)")
"""Said the other way round: what was done must not be cut off behind a long quotation."""
_FROM_OUTSIDE = re.compile(r"was killed by (?=signal \d+ \(SIG(?:HUP|INT|KILL|TERM)\))")
_PID = re.compile(r"\bpid (\d+)")
_SIGNAL = re.compile(r"signal \d+ \((SIG[A-Z0-9]+)\)")
_SURVIVED_STOP = re.compile(r"(did not end within .*): SIGKILL to the whole tree")


def items(episode: Episode, now: float) -> list[Item]:
    """Return an item for each entry, and one for each round of entries that came again."""
    told: list[Entry] = []
    found: list[Item] = []
    for each in fold(episode.entries):
        if isinstance(each, Again):
            found.append(_again(each, now))
            told.extend(each.entries)
        else:
            found.append(_item(each, told, episode, now))
            told.append(each)
    return found


def _again(again: Again, now: float) -> Item:
    last = again.entries[-1]
    runs = {entry.run for entry in again.entries if entry.run is not None}
    which = f", up to run {max(runs)}" if len(runs) > 1 else ""
    text = f"… and the same {wording.times(again.times)} more{which}"
    return Item(f"{wording.clock(last.at, now)}  ", text, ("dim",))


def _item(entry: Entry, before: Sequence[Entry], episode: Episode, now: float) -> Item:
    head = f"{wording.clock(entry.at, now)}  "
    # Where that on which it rests stands right above it, an arrow says so.
    if entry.kind is Kind.DECIDED and entry.topic != Topic.BLOCKED:
        head += "  → "
    if entry.topic in _PLAIN or entry.kind is Kind.ASKED:
        styles: tuple[str, ...] = ()
    elif entry.topic in _RED:
        styles = ("red",)
    elif entry.topic in _YELLOW:
        styles = ("yellow",)
    else:
        styles = (state_color(STATE_AFTER.get(entry.topic, "")),)
    telling = entry.topic in _RED or (entry.kind is Kind.DECIDED and entry.topic != Topic.READY)
    text = words(entry, before, episode.crashes)
    return Item(head, text, styles, entry.topic in _WEIGHTY, telling)


def words(entry: Entry, before: Sequence[Entry] = (), crashes: frozenset[int] = frozenset()) -> str:
    """Return an entry as a sentence; `before` are those that the reader has seen already."""
    if entry.text.startswith(ASKED_WORDS):
        text = asked(entry.text)
    elif entry.topic == Topic.BEGAN:
        text = _began(entry, entry.seq in crashes)
    elif entry.topic == Topic.EXITED:
        text = ending(entry, before)
    else:
        text = _without_causes(entry, before)
        phrase = _PHRASES.get(entry.topic)
        text = f"{entry.topic}: {text}" if phrase is None else phrase(text)
        if entry.topic in (Topic.READY, Topic.STOPPING):
            text = f"it {text}" if entry.run is None else f"run {entry.run} {text}"
    return plainly(text)


def plainly(text: str) -> str:
    """Return text fit for a terminal, signals by name alone."""
    return printable(_SIGNAL.sub(r"\1", text))


def asked(text: str) -> str:
    """Return words like `stop asked: by a client` as a sentence."""
    verb, _, why = text.partition(" asked")
    why, _, rest = why.removeprefix(": ").partition("; ")
    if why == "by a client":
        told = f"somebody asked to {verb} it"
    elif why in ("the daemon starts", "the daemon stops"):
        told = f"to be {_PARTICIPLES.get(verb, verb)} with the supervisor"
    else:
        told = f"to be {_PARTICIPLES.get(verb, verb)}: {why.replace('daemon', 'supervisor')}"
    return f"{told}; {rest}" if rest else told


_PARTICIPLES = {"start": "started", "stop": "stopped", "restart": "restarted"}


def cause(text: str) -> str:
    """Return why a run was ended or restarted, without what was decided then."""
    before, separator, decided = text.rpartition("; ")
    return before if separator and _RESTART.fullmatch(decided) else text


def of_it(reason: str) -> str:
    """Return a reason as a sentence: `it exited with code 1`."""
    return f"it {reason}" if reason.startswith(_VERBS) else reason


_VERBS = ("exited ", "was killed ", "ended ", "failed ", "could not be ", "uses ", "did not ")
"""How the core's verdicts on a run begin, which are the rest of a sentence."""


def _without_causes(entry: Entry, before: Sequence[Entry]) -> str:
    """Return a decision's words without those of the entries it rests on, which were just told."""
    text = entry.text
    if entry.kind is not Kind.DECIDED or not entry.because:
        return text
    for ground in before:
        if ground.seq not in entry.because:
            continue
        text = text.removeprefix("could not be started: ").removeprefix(f"{ground.text}; ")
        detail = ground.text.partition(" probe: ")[2]
        if ground.topic == Topic.PROBE_FAILED and detail:
            text = text.removesuffix(f": {detail}")
    return text


def _began(entry: Entry, after_crash: bool) -> str:
    pid = _PID.search(entry.text)
    pid_words = f" (pid {pid[1]})" if pid else ""
    if after_crash:
        return f"a new supervisor starts{pid_words}: the one before had been killed, or had crashed"
    return f"the supervisor starts{pid_words}"


def ending(entry: Entry, before: Sequence[Entry]) -> str:
    """Return how a run ended, and whether somebody else has killed it."""
    text = entry.text
    ours = any(
        e.run == entry.run and e.topic in (Topic.STOPPING, Topic.KILLED, Topic.REMEDY)
        for e in before
    )
    if not ours:
        text = _FROM_OUTSIDE.sub("was killed from outside by ", text)
    if entry.run is None or text.startswith(f"run {entry.run} "):
        return text
    return f"run {entry.run} {text}"


def _restarting(text: str) -> str:
    before, separator, decided = text.rpartition("; ")
    found = _RESTART.fullmatch(decided)
    if found is None:
        return f"restart: {text}"
    told = f"restart {found[1]} {found[2]}"
    if found[3] not in (None, "1"):
        told += f" ({found[3]} failures in a row)"
    return f"{told}: {before}" if separator and before else told


def _adopted(text: str) -> str:
    pid = _PID.search(text)
    run = text.partition(" adopted")[0]
    if not pid or run == text:
        return text
    return f"{run} (pid {pid[1]}) goes on undisturbed under this supervisor"


def _prefixed(prefix: str) -> Callable[[str], str]:
    return lambda text: f"{prefix}{text}"


def _plain(text: str) -> str:
    return text


def _of_supervisor(text: str) -> str:
    return text.replace("the daemon", "the supervisor").removeprefix("daemon ")


_PHRASES: Mapping[str, Callable[[str], str]] = {
    Topic.ASKED: _plain,
    Topic.BLOCKED: _plain,
    Topic.STARTED: _plain,
    Topic.ADOPTED: _adopted,
    Topic.SPAWN_FAILED: _prefixed("could not be started: "),
    Topic.READY: lambda text: f"is healthy ({text})",
    Topic.UNREADY: _prefixed("not ready: "),
    Topic.PROBE_FAILED: lambda text: text.replace(" probe: ", " probe failed: ", 1),
    Topic.NOTICE: _prefixed("notice: "),
    Topic.BUSY: _plain,
    Topic.DUMPED: _plain,
    Topic.REMEDY: lambda text: _REMEDY.sub(r"\1: \3, for \2", text),
    Topic.REMEDY_SKIPPED: _plain,
    Topic.STOPPING: lambda text: f"is to stop: {of_it(text)}",
    Topic.KILLED: lambda text: _SURVIVED_STOP.sub(r"SIGKILL: it \1", text),
    Topic.LEFT_OVER: _plain,
    Topic.RESTARTING: _restarting,
    Topic.GAVE_UP: _prefixed("gives up: "),
    Topic.STOPPED: _prefixed("stopped: "),
    Topic.COMPLETED: _prefixed("completed: "),
    Topic.ROLLING: _plain,
    Topic.ROLLED: _plain,
    Topic.ROLL_FAILED: _plain,
    Topic.RETIRED: _plain,
    Topic.REMOVED: _prefixed("removed: "),
    Topic.STALE: _plain,
    Topic.PID_FILE: _plain,
    Topic.TROUBLE: _prefixed("trouble: "),
    Topic.UPGRADED: _prefixed("the supervisor was "),
    Topic.UPGRADE_REFUSED: _prefixed("upgrade refused: "),
    Topic.RELOADED: _plain,
    Topic.DAEMON: _of_supervisor,
    Topic.ENDED: lambda text: f"the supervisor {_of_supervisor(text)}",
    Topic.RESUMED: _plain,
    Topic.CLOCK: _plain,
}


def event_line(entry: Entry, now: float, paint: Paint) -> str:
    """Return one entry of the journal as `events` lists it."""
    unit = printable(entry.unit) or "atlasctl"
    color = state_color(STATE_AFTER.get(entry.topic, ""))
    stamp = paint(wording.clock(entry.at, now), "dim")
    topic = paint(printable(entry.topic), color)
    return f"{stamp}  {unit}  {topic}  {printable(entry.text)}"


def as_told(entry: Entry) -> dict[str, object]:
    """Return an entry for scripts: the journal's own fields, and local time by ISO 8601."""
    from datetime import datetime

    moment = datetime.fromtimestamp(entry.at).astimezone().isoformat(timespec="milliseconds")
    return {"seq": entry.seq, "at": entry.at, "time": moment, **entry.message()}
