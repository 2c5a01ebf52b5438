"""The first sentences of a story: how a service is, since when, and what led to it. Pure."""

import re

from supervisor.cli import wording
from supervisor.cli.episode import Episode
from supervisor.cli.services import is_good, notice_of
from supervisor.cli.telling import STATE_AFTER, asked, cause, ending, of_it, plainly, words
from supervisor.cli.terminal import crop, crop_middle, printable
from supervisor.control.messages import ServiceStatus
from supervisor.core.causes import ASKED_WORDS
from supervisor.core.effects import Topic
from supervisor.journal import Entry

REASON = 160
"""Cells of one reason, at most: a sentence that ends is worth more than the end of a quotation."""
NOTICE = 2 * REASON
"""Cells of a notice, at most; what it says last is mostly what helps, so its middle is cut."""
_AT_ONCE = 0.05
"""Seconds that nobody can tell from none."""
_HELD = re.compile(r"waiting for (\S+), which|waiting for (\S+) to be ")


def headline(
    episode: Episode,
    status: ServiceStatus | None,
    now: float,
    left_running: str = "",
    *,
    room: int = NOTICE,
) -> str:
    """Return the present state, and how often and why it was restarted, in a few sentences.

    A notice stands in the first of them, in `room` cells.

    `status` is None where no daemon runs; then the journal's last words must do, and
    `left_running` are the services that a killed one has left.
    """
    name = printable(episode.service)
    if status is None:
        sentences = _without_daemon(name, episode, now, left_running, room)
    else:
        sentences = [_present(name, status, now, room)]
        if is_calm(episode, status):
            sentences += _calm(episode, now)
        sentences += _undisturbed(episode, status)
    sentences += _restarts(episode, status, now)
    return " ".join(sentences)


def is_calm(episode: Episode, status: ServiceStatus | None) -> bool:
    """Tell whether there is no story: it was started, it works, and nothing else was to tell."""
    return (
        status is not None
        and is_good(status)
        and not episode.troubles()
        and all(entry.topic in _QUIET for entry in episode.entries)
    )


_QUIET = (
    Topic.ASKED,
    Topic.BLOCKED,
    Topic.STARTED,
    Topic.READY,
    Topic.RELOADED,
    Topic.PROBE_FAILED,
)


def _without_daemon(
    name: str, episode: Episode, now: float, left_running: str, room: int
) -> list[str]:
    sentence = "No supervisor runs."
    if left_running:
        sentence = (
            f"No supervisor runs; one that was killed has left {left_running} running, and another "
            "would take over: atlasctl up."
        )
    if not episode.own:
        return [sentence, f"Nothing is written of {name}."]
    sentences, last, notice = [sentence], episode.own[-1], episode.notice()
    if notice is not None:
        when = wording.clock(notice.at, now)
        told = _sentence(crop_middle(plainly(notice.text), room))
        sentences.append(f"At {when} {name} worked, but not as asked: {told}")
    if last is not notice:
        known = _sentence(_short(words(last)))
        when = wording.clock(last.at, now)
        sentences.append(f"The last that is known of {name}, at {when}: {known}")
    return sentences


def state_in_journal(episode: Episode) -> str:
    """Return in which state the journal's last entry leaves a service; "" if there is none."""
    return STATE_AFTER.get(episode.own[-1].topic, "") if episode.own else ""


def _short(text: str) -> str:
    return crop(plainly(text), REASON)


def _present(name: str, status: ServiceStatus, now: float, room: int) -> str:
    when = wording.clock(now - status["since"], now)
    since = f"since {when} ({wording.age(status['since'])})"
    reason = _short(_reason(status["reason"]))
    notice = crop_middle(notice_of(status), room)
    state = status["state"]
    if state == "busy":
        told = f"{name} is healthy {since} and busy now"
        if not notice:
            return f"{told}: {_sentence(reason)}"
        # The reason last: where not all can be said, it tells less.
        return f"{told}, but not as asked: {_sentence(notice)} It is busy: {_sentence(reason)}"
    if is_good(status) and notice:
        return f"{name} is {state} {since}, but not as asked: {_sentence(notice)}"
    match state:
        case "completed":
            return f"{name} is completed {since}: {reason}."
        case _ if is_good(status):
            return f"{name} is {state} {since}."
        case "backoff":
            return f"{name} is down {since} and is to be started again: {_sentence(reason)}"
        case "failed":
            ago = f"{wording.age(status['since'])} ago"
            return (
                f"{name} failed at {when} ({ago}): {_sentence(reason)} It stays down until "
                f"somebody starts it: atlasctl start {name}."
            )
        case "blocked" if reason.startswith("waiting for "):
            what = _sentence(reason.removeprefix("waiting "))
            return f"{name} waits {since} {what}{_root(status)}"
        case _:
            return f"{name} is {state} {since}: {_sentence(reason)}"


def _reason(text: str) -> str:
    return asked(text) if text.startswith(ASKED_WORDS) else of_it(cause(text))


def _root(status: ServiceStatus) -> str:
    held = _HELD.match(status["reason"])
    other = held and next(filter(None, held.groups()))
    return f" The story of that: atlasctl why {other}." if other in status["depends_on"] else ""


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def _calm(episode: Episode, now: float) -> list[str]:
    started = next((e for e in reversed(episode.own) if e.topic == Topic.STARTED), None)
    if started is None:
        return []
    wish = next((e for e in reversed(episode.own) if e.text.startswith(ASKED_WORDS)), None)
    reason = "" if wish is None else wish.text.partition("asked: ")[2]
    match reason:
        case "by a client":
            why = "because somebody asked"
        case "the daemon starts":
            why = "with the supervisor"
        case _:
            why = f"({_short(reason)})" if reason else ""
    when = wording.clock(started.at, now)
    began = f"Run {started.run} was started at {when} {why}".rstrip()
    return [f"{began}; nothing has gone wrong since."]


def _undisturbed(episode: Episode, status: ServiceStatus) -> list[str]:
    """Return that a run was not restarted, where its supervisor was."""
    adopted = any(entry.topic == Topic.ADOPTED for entry in episode.own)
    ended = any(entry.topic == Topic.EXITED for entry in episode.own)
    if not adopted or ended or status["uptime"] is None:
        return []
    return [
        f"Run {status['run']} was not disturbed: it has run for {wording.age(status['uptime'])}."
    ]


def _restarts(episode: Episode, status: ServiceStatus | None, now: float) -> list[str]:
    restarts = episode.restarts()
    # What has given up says itself how often it failed.
    if not restarts or (status is not None and status["state"] == "failed"):
        return []
    last = restarts[-1]
    often = f"It was restarted {wording.times(len(restarts))}"
    if len(restarts) > 1:
        often += f" within {wording.duration(last.at - restarts[0].at)}"
    known = episode.own[-1].text if status is None else status["reason"]
    if cause(known) == cause(last.text):
        return [f"{often}."]
    when = wording.clock(last.at, now)
    told = _short(_blame(last, episode))
    again = next((e for e in episode.own if e.topic == Topic.STARTED and e.seq > last.seq), None)
    later = 0.0 if again is None else again.at - last.at
    soon = "at once" if later < _AT_ONCE else f"{wording.duration(later)} later"
    then = f" It started again {soon}." if again else ""
    the_last_time = ", the last time" if len(restarts) > 1 else ""
    return [f"{often}{the_last_time} at {when}, because {_sentence(told)}{then}"]


def _blame(restart: Entry, episode: Episode) -> str:
    reason = cause(restart.text)
    if restart.run is None:
        return reason
    for entry in episode.own:
        if entry.topic == Topic.EXITED and entry.run == restart.run and entry.text == reason:
            return ending(entry, episode.own)
    return f"run {restart.run} {reason}"


def trouble_line(episode: Episode, now: float) -> str | None:
    """Return the last trouble of an episode in a sentence, or None if there was none."""
    troubles = episode.troubles()
    if not troubles:
        return None
    last = troubles[-1]
    name = printable(episode.service)
    when = wording.clock(last.at, now)
    if last.topic == Topic.RESTARTING:
        return f"{name} was restarted at {when}, because {_short(_blame(last, episode))}"
    return f"{name} at {when}: {_short(words(last))}"
