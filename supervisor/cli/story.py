"""`why`: what led to the present state of a service, in fewer than 20 lines.

The journal is read on disk, so it needs no daemon. Lines are laid out for the terminal, since one
that is broken by it is two for who reads; where there is none, for one of 80 columns.
"""

import contextlib
import json
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass

from supervisor import journal
from supervisor.cli import wording
from supervisor.cli.connection import System, short_path
from supervisor.cli.episode import Episode, last_episode, last_episodes
from supervisor.cli.excerpt import Excerpt, last_words
from supervisor.cli.exits import ExitStatus
from supervisor.cli.headline import NOTICE, headline, is_calm, state_in_journal, trouble_line
from supervisor.cli.invocation import Invocation
from supervisor.cli.known_services import check_known, services_of_daemon
from supervisor.cli.layout import Item, lines_of, list_items, wrap
from supervisor.cli.log_files import log_path
from supervisor.cli.services import GOOD, is_good, notice_of
from supervisor.cli.telling import as_told, items, plainly, words
from supervisor.cli.terminal import PLAIN, Paint, crop, crop_middle, printable, width, window
from supervisor.control.messages import ServiceStatus
from supervisor.core.effects import Topic
from supervisor.journal import Entry

LINES = 19
"""Lines of everything that `why` prints, at most."""
EXCERPT = 5
LEAST_EXCERPT = 3
"""Lines of the log: the more there is to tell, the fewer."""
_HEADLINE = 5
_RAGGED = 10
"""Cells that are lost at the end of a line because the next word is long."""
_NARROW, _WIDE = 60, 120
"""Columns: what is narrower is treated so, and longer lines are hard to read."""
SHAKY = 10.0
"""Seconds after a restart in which a service that works may be in the middle of a crash loop."""
_OTHERS = 3
"""Further services that are not well, of which one line each is said."""
_LIMPING = 4
"""Services that work otherwise than asked, of which three lines each are said."""


@dataclass(frozen=True, slots=True)
class Story:
    """All that is known of one service, to be told."""

    episode: Episode
    status: ServiceStatus | None
    """None while no daemon answers."""
    log: str | None = None
    excerpt: Excerpt | None = None
    """None where the log has nothing to add."""
    left_running: str = ""
    """Where no daemon runs: the services that a killed one has left."""

    @property
    def name(self) -> str:
        """The service."""
        return self.episode.service


def why(call: Invocation) -> int:
    """Tell what led to the present state of a service, or of whichever is not well."""
    system = call.system()
    services = services_of_daemon(system)
    entries = journal.read(system.state_dir)
    if call.services:
        check_known(call.services, system, services, entries)
        name = call.services[0]
        status = None if services is None else services[name]
        story = _story(last_episode(name, entries), status, system)
        if call.json:
            print(_dump(_told(story)))
        else:
            _print(tell(story, time.time(), _columns(), call.paint))
        return ExitStatus.AS_ASKED
    episodes = last_episodes(entries)
    unwell = [
        (episodes.get(name) or Episode(name, ()), None if services is None else services[name])
        for name in _unwell(services, episodes)
    ]
    if call.json:
        stories = [_story(episode, status, system) for episode, status in unwell]
        print(_dump({"services": [_told(story) for story in stories]}))
    elif unwell:
        first, *others = unwell
        stories = [_story(*first, system), *(Story(*other) for other in others)]
        _print(tell_several(stories, time.time(), _columns(), call.paint))
    else:
        _print(all_is_well(services, episodes, time.time(), _columns()))
    return ExitStatus.AS_ASKED


def _story(episode: Episode, status: ServiceStatus | None, system: System) -> Story:
    failure = episode.failure()
    log = status["log"] if status is not None else log_path(system, episode.service)
    bad = status is not None and not is_good(status) and status["state"] not in _NO_FAULT
    excerpt = None
    if log is not None and (failure is not None or bad or status is None):
        run = _run_to_quote(failure, status)
        ended, began = None, True
        for entry in episode.own:
            if entry.topic == Topic.EXITED and entry.run == run:
                ended = entry.at
            if entry.topic == Topic.SPAWN_FAILED and entry.run == run:
                began = False
        with contextlib.suppress(OSError):
            excerpt = last_words(log, run, ended, EXCERPT) if began else None
    return Story(episode, status, log, excerpt, _left_running(system) if status is None else "")


def _left_running(system: System) -> str:
    # Only here: where a daemon runs nobody looks at the ledger, nor at processes.
    from supervisor.cli.survivors import left_running

    return left_running(system.state_dir)


_NO_FAULT = ("stopped", "starting", "blocked", "stopping", "loading")
"""States that are not good yet, and of which the log tells nothing unless something failed."""


def _run_to_quote(failure: Entry | None, status: ServiceStatus | None) -> int | None:
    if failure is not None:
        return failure.run
    return None if status is None else status["run"]


def _unwell(services: dict[str, ServiceStatus] | None, episodes: dict[str, Episode]) -> list[str]:
    """Return the services that are not as they should be, those that others wait for first."""
    if services is None:
        states = {name: state_in_journal(episode) for name, episode in episodes.items()}
        bad = [name for name, state in states.items() if state not in (*GOOD, *_DOWN)]
    else:
        now = time.time()
        states = {name: service["state"] for name, service in services.items()}
        bad = [
            name
            for name, service in services.items()
            if not _is_down_as_asked(service)
            and (not is_good(service) or _is_shaky(episodes.get(name), now))
        ]
    return sorted(bad, key=lambda name: _rank(states[name]))


_DOWN = ("stopped", "removed", "started", "")


def _is_down_as_asked(service: ServiceStatus) -> bool:
    return service["goal"] == "down" and service["state"] == "stopped"


def _is_shaky(episode: Episode | None, now: float) -> bool:
    """Tell whether a run has failed so lately that the next one has not shown anything yet."""
    restarts = [] if episode is None else episode.restarts()
    return bool(restarts) and now - restarts[-1].at < SHAKY


def _rank(state: str) -> int:
    """What is blocked, or only on its way, is seldom the root of anything."""
    return {"failed": 0, "blocked": 3, "starting": 2, "loading": 2, "stopping": 2}.get(state, 1)


# Words ---------------------------------------------------------------------------------------


def _columns() -> int:
    return max(_NARROW, min(_WIDE, window(sys.stdout)[0]))


def tell(story: Story, now: float, columns: int, paint: Paint, lines: int = LINES) -> list[str]:
    """Return the story of one service in at most so many lines, none wider than `columns`."""
    told = _first_lines(story, now, columns)
    if is_calm(story.episode, story.status):
        return told
    timeline = items(story.episode, now)
    title, quoted = _quotation(story, columns)
    room = lines - len(told) - (1 if timeline else 0) - len(title)
    if quoted:
        # Of a long story fewer lines of the log are shown; the last, which mostly says what is
        # wrong, may take two.
        wanted = sum(lines_of(each, columns) if each.weighty else 1 for each in timeline)
        most = max(LEAST_EXCERPT, min(EXCERPT + 1, room - wanted))
        quoted = quoted[-(most - (width(quoted[-1]) > columns - 2)) :]
        quoted = list_items([Item("  ", line) for line in quoted], columns, most, "", PLAIN)
    if timeline:
        left_out = f"… {{}} more lines: atlasctl events -n 1000 {printable(story.name)}"
        told.append("")
        told += list_items(timeline, columns, room - len(quoted), left_out, paint)
    return [*told, *title, *quoted]


def _first_lines(story: Story, now: float, columns: int) -> list[str]:
    """Return the headline, with as much of the notice as leaves room for its other sentences."""

    def told(room: int, most: int) -> list[str]:
        text = headline(story.episode, story.status, now, story.left_running, room=room)
        return wrap(text, columns, most)

    longer = (told(room, _HEADLINE + 1) for room in (NOTICE, NOTICE * 3 // 4))
    fitting = (lines for lines in longer if len(lines) <= _HEADLINE)
    return next(fitting, None) or told(NOTICE // 2, _HEADLINE)


def _quotation(story: Story, columns: int) -> tuple[list[str], list[str]]:
    """Return how a quotation of the log is announced, and its lines."""
    excerpt, failure = story.excerpt, story.episode.failure()
    if excerpt is None or story.log is None:
        return [], []
    path = printable(short_path(story.log))
    lines = [printable(line) for line in excerpt.lines]
    if not lines and (
        excerpt.run is None or failure is None or failure.topic == Topic.SPAWN_FAILED
    ):
        return [], []
    if excerpt.run is None:
        title = "last lines of its log"
    elif lines:
        title = f"last words of run {excerpt.run}"
    else:
        title = f"run {excerpt.run} printed nothing"
    return ["", _with_path(title, path, ":" if lines else "", columns)], lines


def _with_path(title: str, path: str, end: str, columns: int) -> str:
    room = columns - width(title) - len(" ()") - len(end)
    while width(path) > room:
        # The end of a path says more than its beginning.
        path = f"…{path[2:]}" if path.startswith("…") else f"…{path[1:]}"
    return f"{title} ({path}){end}"


def tell_several(stories: list[Story], now: float, columns: int, paint: Paint) -> list[str]:
    """Return the story of the first, and of the others a line each, or their number."""
    first, *others = stories
    if not others:
        return tell(first, now, columns, paint)
    said = [crop(_in_short(story), columns) for story in others[:_OTHERS]]
    if len(others) > len(said):
        left = len(others) - len(said) + 1
        said[-1] = crop(f"and {left} more; of each: atlasctl why NAME", columns)
    return [*tell(first, now, columns, paint, LINES - 1 - len(said)), "", *said]


def _in_short(story: Story) -> str:
    name = printable(story.name)
    if story.status is None:
        return f"{name}, too: {words(story.episode.own[-1])}"
    return f"{name} is {printable(story.status['state'])}, too: {plainly(story.status['reason'])}"


def all_is_well(
    services: dict[str, ServiceStatus] | None,
    episodes: dict[str, Episode],
    now: float,
    columns: int,
) -> list[str]:
    """Return that nothing is wrong, what works otherwise than asked, and the last trouble."""
    if services is not None:
        sentence = _all_states(services)
    elif episodes:
        last = max(episode.own[-1].at for episode in episodes.values())
        when = wording.clock(last, now)
        sentence = f"No supervisor runs. When the last one wrote, at {when}, nothing was wrong."
    else:
        sentence = "No supervisor runs, and nothing is written of any service."
    failures = [
        (e.failure(), e) for e in episodes.values() if services is None or e.service in services
    ]
    latest = max(
        ((f.at, e) for f, e in failures if f is not None), key=lambda each: each[0], default=None
    )
    lines = wrap(sentence, columns, 2)
    lines += _not_as_asked((services or {}).values(), columns)
    if latest is not None:
        trouble = trouble_line(latest[1], now)
        told = f"The last trouble: {trouble}. Its story: atlasctl why {latest[1].service}"
        lines += wrap(told, columns, 3)
    return lines


def _not_as_asked(services: Iterable[ServiceStatus], columns: int) -> list[str]:
    limping = [each for each in services if notice_of(each) and is_good(each)]
    lines = []
    for service in limping[:_LIMPING]:
        told = f"Not as asked: {printable(service['name'])}: {notice_of(service)}"
        lines += wrap(crop_middle(told, 3 * (columns - _RAGGED)), columns, 3)
    if len(limping) > _LIMPING:
        more = wording.count(len(limping) - _LIMPING, "more service")
        lines.append(crop(f"Not as asked: {more}; of each: atlasctl why NAME", columns))
    return lines


def _all_states(services: dict[str, ServiceStatus]) -> str:
    by_state: dict[str, list[str]] = {}
    for service in services.values():
        by_state.setdefault(service["state"], []).append(printable(service["name"]))
    if not by_state:
        return "All is well: there is no service."
    parts = []
    for state, names in by_state.items():
        who = wording.listing(names) if len(names) <= 4 else wording.count(len(names), "service")
        asked = " as asked" if state == "stopped" else ""
        parts.append(f"{who} {'is' if len(names) == 1 else 'are'} {state}{asked}")
    return f"All is well: {'; '.join(parts)}."


def _print(lines: list[str]) -> None:
    for line in lines:
        print(line)


# For scripts ---------------------------------------------------------------------------------


def _told(story: Story) -> dict[str, object]:
    status, excerpt = story.status, story.excerpt
    return {
        "service": story.name,
        "state": None if status is None else status["state"],
        "reason": None if status is None else status["reason"],
        "notice": (notice_of(status) or None) if status is not None else None,
        "summary": headline(story.episode, status, time.time(), story.left_running),
        "events": [as_told(entry) for entry in story.episode.entries],
        "log": story.log,
        "last_words": None if excerpt is None else {"run": excerpt.run, "lines": excerpt.lines},
    }


def _dump(value: object) -> str:
    # Lone surrogates, of a path that is no UTF-8, can be escaped in JSON but not printed.
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return text.encode("utf-8", "backslashreplace").decode()
