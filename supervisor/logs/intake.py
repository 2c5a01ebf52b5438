"""All inlets of the sink and their logs: attached, pumped, tidied up, and left in good order.

Kept true: an inlet is read from the moment it is attached, whatever else is to be done for its
log; one log has one inlet.
"""

from __future__ import annotations

import os
import selectors
import time
from functools import partial
from typing import TYPE_CHECKING

from supervisor.logs.compression import Compressor
from supervisor.logs.inlet import BUSY, MOST_LARGE_PIPES, Inlet
from supervisor.logs.logfile import LogFile
from supervisor.logs.relocation import relocate
from supervisor.logs.requests import RequestError
from supervisor.logs.scanner import Scanner

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor.core.pattern import Pattern
    from supervisor.logs.policy import Policy
    from supervisor.logs.transfer import Mover

MOST_INLETS = 2000
TIDY_EVERY = 16
"""Rounds of the sink's loop after which one log is tidied up though others wait to be served."""
FILES_OF_INLET = 3
"""Its FIFO, its log and the log's times."""


class Intake:
    """What is read, and where it goes."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        mover: Mover,
        complain: Callable[[str], None],
        found: Callable[[str, Pattern, int | None, bytes, int], None],
    ) -> None:
        """Register FIFOs and the compressor in `selector`, with themselves as data.

        `found` gets the name of a service, and what `Scanner` gives.
        """
        self.inlets: dict[str, Inlet] = {}
        self.compressor = Compressor(complain)
        self._selector = selector
        self._mover = mover
        self._complain = complain
        self._found = found
        self._owners: dict[str, str] = {}
        """Which inlet writes a log."""
        self._broken: set[LogFile] = set()
        self._untidy: dict[LogFile, None] = {}
        """Attached and not looked through yet for what a crash left, in this order."""
        self._busy_rounds = 0
        selector.register(self.compressor.wake_fd, selectors.EVENT_READ, self.compressor)

    @property
    def files(self) -> int:
        """How many files are open for all inlets."""
        return FILES_OF_INLET * len(self.inlets)

    def find(self, name: str) -> Inlet:
        """Return an attached inlet; RequestError."""
        if name not in self.inlets:
            raise RequestError(f"{name!r} is not attached")
        return self.inlets[name]

    def attach(self, name: str, fifo: str, path: str, policy: Policy) -> LogFile:
        """Read `fifo` into the log at `path` from now on; return the log, which may be broken.

        What the name was attached to before is drained first. Raises RequestError and OSError.
        """
        if not os.path.isabs(path) or path.endswith("/"):
            raise RequestError(f"log must be an absolute path of a file, not {path!r}")
        owner = self._owners.get(path, name)
        if owner != name:
            raise RequestError(f"{path} is the log of {owner!r} already")
        old = self.inlets.get(name)
        if old is None and len(self.inlets) >= MOST_INLETS:
            raise RequestError(f"more than {MOST_INLETS} services")
        known = old.log if old is not None and old.log.path == path else None
        scanner = Scanner(partial(self._found, name)) if old is None else old.log.scanner
        log = known or LogFile(path, policy, self._mover, self._rotated, scanner)
        tidy = known is not None and known.policy.keep == policy.keep and known not in self._untidy
        log.policy = policy
        try:
            inlet = Inlet(name, fifo, log)
        except OSError:
            if known is None:
                log.close()
            raise
        if old is not None:
            old.drain()
            if old.identity == inlet.identity:
                inlet.large = old.large
            self._drop(old, keep_log=log)
        self.inlets[name] = inlet
        self._owners[path] = name
        self._selector.register(inlet.fd, selectors.EVENT_READ, inlet)
        if log.broken:
            self._broken.add(log)
        elif tidy:
            self.compressor.put_forward(log)
        else:
            self._untidy[log] = None
        return log

    def detach(self, inlet: Inlet) -> None:
        """Drain an inlet for the last time, and close it and its log."""
        inlet.drain()
        del self.inlets[inlet.name]
        self._drop(inlet, keep_log=None)

    def relocate(self, path: str, folder: str) -> None:
        """Move the log at `path`, attached or not, with all that was rotated of it; OSError."""
        home, base = os.path.split(path)
        for inlet in self.inlets.values():
            # The file counts, not how its folder is spelled: what has a writer must lose it first.
            if inlet.log.base == base and os.path.samefile(inlet.log.folder, home):
                inlet.drain()
                inlet.log.relocate(folder)
                return
        relocate(path, folder)

    def pump(self, inlet: Inlet) -> None:
        """Give an inlet its turn."""
        moved, ended = inlet.pump()
        if ended:
            # A FIFO without writers is "readable" for ever; the next attach takes it up again.
            self._selector.unregister(inlet.fd)
        if inlet.log.broken:
            self._broken.add(inlet.log)
        if moved >= BUSY and not inlet.large:
            large = sum(other.large for other in self.inlets.values())
            if large < MOST_LARGE_PIPES:
                inlet.enlarge()

    def due(self) -> float | None:
        """Return when `look_after` has something to do (monotonic seconds); None: not by itself."""
        if self._untidy:
            return 0.0
        return min((at for log in self._broken if (at := log.retry_at) is not None), default=None)

    def look_after(self, *, idle: bool) -> None:
        """Try again to write broken logs whose time has come; tidy up one if nobody waits."""
        now = time.monotonic()
        for log in list(self._broken):
            at = log.retry_at
            if at is not None and at <= now:
                log.recover()
            if not log.broken:
                self._broken.discard(log)
        self._busy_rounds = 0 if idle else self._busy_rounds + 1
        if idle or self._busy_rounds >= TIDY_EVERY:
            self._busy_rounds = 0
            self._tidy_one()

    def counts(self) -> dict[str, dict[str, object]]:
        """Return by name what the control protocol calls `stats`."""
        return {
            inlet.name: {
                "bytes": inlet.log.totals.bytes,
                "lost_bytes": inlet.log.totals.lost_bytes,
                "lost_lines": inlet.log.totals.lost_lines,
                "rotations": inlet.log.totals.rotations,
                "size": inlet.log.size,
                "error": inlet.log.error or inlet.log.rotation_error,
            }
            for inlet in self.inlets.values()
        }

    def drain(self) -> None:
        """Take what lies in every FIFO, before an end."""
        for inlet in self.inlets.values():
            if inlet.log.conclude():
                inlet.drain()

    def finish(self, packing_time: float) -> None:
        """Drain all; tidy up and gzip for so many seconds, not at all for 0."""
        self.drain()
        for inlet in self.inlets.values():
            if not inlet.log.conclude():
                self._complain(f"{inlet.log.path} cannot be written at the end: {inlet.log.error}")
        deadline = time.monotonic() + packing_time
        while self._untidy and time.monotonic() < deadline:
            self._tidy_one()
        with selectors.DefaultSelector() as selector:
            selector.register(self.compressor.wake_fd, selectors.EVENT_READ)
            while not self.compressor.idle:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    break
                self.compressor.collect()

    def _tidy_one(self) -> None:
        """Look through the folder of one log: 1 ms where it holds those of 1000 services.

        One at a time and after the attach: a sink that is told of all of them reads at once.
        """
        if self._untidy:
            log = next(iter(self._untidy))
            del self._untidy[log]
            log.repair()
            if log.broken:
                self._broken.add(log)
            else:
                self.compressor.put_forward(log)

    def _rotated(self, log: LogFile) -> None:
        if log not in self._untidy:  # to tidy up would take a gzip in the making for a leftover
            self.compressor.put_forward(log)

    def _drop(self, inlet: Inlet, keep_log: LogFile | None) -> None:
        if inlet.fd in self._selector.get_map():
            self._selector.unregister(inlet.fd)
        inlet.close()
        log = inlet.log
        if log is not keep_log:
            self.compressor.withdraw(log)
            self._owners.pop(log.path, None)
            self._untidy.pop(log, None)
            self._broken.discard(log)
            log.close()
