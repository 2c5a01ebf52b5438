"""The service that speaks: where it is, and waiting until it takes work."""

import threading
import time
from typing import Final

from supervisor.cli import wording
from supervisor.cli.connection import System, fleet_status, speaking_to
from supervisor.cli.exits import CommandError, ExitStatus
from supervisor.cli.services import check_names, is_up
from supervisor.cli.speech.failure import CancelledError
from supervisor.cli.terminal import printable, warn
from supervisor.control.messages import ServiceStatus

_POLL: Final = 0.1
_LOST: Final = ("failed", "broken", "completed")
"""States that no short wait ends."""


class Speaker:
    """One service, as the supervisor sees it now: its port may be another after a reload."""

    def __init__(
        self, system: System, name: str, patience: float, cancelled: threading.Event
    ) -> None:
        """`patience` is how many seconds it may take to be ready."""
        self.name = name
        self._system = system
        self._patience = patience
        self._cancelled = cancelled

    def port(self) -> int:
        """Return where it listens, once it takes work; say on standard error what it waits for.

        Raises CommandError where that is not to be expected, and CancelledError.
        """
        began = time.monotonic()
        told = ""
        while True:
            service = self._look()
            state = service["state"]
            if is_up(service) and state != "completed":
                return self._port_of(service)
            said = f"{self.name} is {state}: {printable(service['reason'])}"
            see = f"see: atlasctl why {self.name}"
            if service["goal"] == "down":
                raise CommandError(
                    ExitStatus.NOT_REACHED, said, f"start it: atlasctl up {self.name}"
                )
            if state in _LOST:
                raise CommandError(ExitStatus.NOT_REACHED, said, see)
            left = self._patience - (time.monotonic() - began)
            if left <= 0:
                waited = f" (waited {wording.duration(self._patience)})"
                raise CommandError(ExitStatus.NOT_REACHED, said + waited, see)
            if state != told:
                told = state
                warn(f"{said}; waiting for {wording.duration(left)} at most")
            if self._cancelled.wait(min(_POLL, left)):
                raise CancelledError

    def _look(self) -> ServiceStatus:
        with speaking_to(self._system):
            fleet = {s["name"]: s for s in fleet_status(self._system.client())["services"]}
        check_names([self.name], list(fleet))
        return fleet[self.name]

    def _port_of(self, service: ServiceStatus) -> int:
        if service["ports"]:
            return service["ports"][0]
        raise CommandError(
            ExitStatus.USAGE,
            f"{self.name} has no port at which it could be asked",
            "give it one: ports: or sockets: in the YAML",
        )
