"""Waiting until services are as they were asked to be, and showing the way there.

The daemon is asked again and again rather than followed: each answer is the whole truth, so a
missed notice cannot hang a command. Every wait ends at its deadline.
"""

import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from supervisor.cli.connection import fleet_status
from supervisor.cli.progress import arrival_line, change_line, underway_lines
from supervisor.cli.services import Lost, Progress, Reached, Underway, second_run
from supervisor.cli.terminal import Canvas, Paint, is_terminal
from supervisor.control.client import ControlClient, DaemonNotRunning
from supervisor.control.messages import ServiceStatus

POLL = 0.1
"""Seconds between two looks, at least."""
POLL_SHARE = 5
"""And this many times what the last look took: waiting must not load a large system."""

Judge = Callable[[ServiceStatus, Mapping[str, ServiceStatus]], Progress]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a wait ended: the services waited for, in order, and how far each is."""

    services: tuple[ServiceStatus, ...]
    progress: Mapping[str, Progress]
    elapsed: float
    gone: tuple[str, ...] = ()
    """Those that the daemon does not know any more."""

    def of(self, kind: type[Reached | Underway | Lost]) -> list[ServiceStatus]:
        """Return the services that are this far."""
        return [s for s in self.services if isinstance(self.progress[s["name"]], kind)]

    @property
    def reached(self) -> bool:
        """Tell whether all is as asked."""
        return len(self.of(Reached)) == len(self.services)


class View:
    """Shows the way: a picture that is drawn again on a terminal, a line a change elsewhere.

    A quiet one shows nothing: its command prints JSON at the end.
    """

    def __init__(self, paint: Paint, verb: str, *, quiet: bool = False) -> None:
        self._paint = paint
        self._verb = verb
        self._quiet = quiet
        self._canvas = Canvas(sys.stdout) if is_terminal(sys.stdout) and not quiet else None
        self._told: dict[str, tuple[str, str]] = {}

    def arrived(
        self, service: ServiceStatus, progress: Progress, elapsed: float, *, already: bool
    ) -> None:
        """Print the line that stays."""
        if self._quiet:
            return
        self.clear()
        print(arrival_line(service, progress, elapsed, self._paint, already=already), flush=True)

    def underway(self, services: Sequence[ServiceStatus], elapsed: float) -> None:
        """Show what is awaited."""
        if self._quiet:
            return
        if self._canvas is not None:
            self._canvas.draw(underway_lines(services, elapsed, self._paint, verb=self._verb))
            return
        for service in services:
            now = (service["state"], second_run(service) or service["reason"])
            # Up already, and only to prove that it stays so: the line on arrival will do.
            if service["state"] != "running" and self._told.get(service["name"]) != now:
                self._told[service["name"]] = now
                print(change_line(service, self._paint), flush=True)

    def say(self, line: str) -> None:
        """Show one line while there are no services to show."""
        if self._canvas is not None:
            self._canvas.draw([line])

    def clear(self) -> None:
        """Take the picture away."""
        if self._canvas is not None:
            self._canvas.clear()


def wait(
    client: ControlClient,
    names: Collection[str],
    judge: Judge,
    view: View,
    *,
    timeout: float,
    already: Collection[str] = (),
    daemon: int | None = None,
) -> Outcome:
    """Return when every service named is as asked or lost, or after `timeout` seconds.

    `already` names those that were as asked before. Raises DaemonNotRunning if the daemon ends, and
    where `daemon` is its pid, also if another answers in its place.
    """
    began = time.monotonic()
    told: set[str] = set()
    try:
        while True:
            looked_at = time.monotonic()
            status = fleet_status(client)
            if daemon not in (None, status["daemon"]["pid"]):
                raise DaemonNotRunning(client.path)
            fleet = {service["name"]: service for service in status["services"]}
            now = time.monotonic()
            services = tuple(fleet[name] for name in fleet if name in names)
            progress = {s["name"]: judge(s, fleet) for s in services}
            gone = tuple(name for name in names if name not in fleet)
            outcome = Outcome(services, progress, now - began, gone)
            for service in services:
                name = service["name"]
                if name not in told and not isinstance(progress[name], Underway):
                    told.add(name)
                    view.arrived(service, progress[name], outcome.elapsed, already=name in already)
            pending = outcome.of(Underway)
            left = timeout - outcome.elapsed
            if not pending or left <= 0:
                for service in pending:
                    view.arrived(service, Underway(), outcome.elapsed, already=False)
                return outcome
            view.underway(pending, outcome.elapsed)
            time.sleep(min(max(POLL, POLL_SHARE * (now - looked_at)), left))
    finally:
        view.clear()
