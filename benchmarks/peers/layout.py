"""What a peer is to the benchmark: files in a folder, and the commands that a user would type."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

LOG_FILE_SIZE = 10_000_000
"""Bytes after which a log is rotated, for every peer that rotates."""
LOG_FILES = 100
"""How many rotated files are kept: more than any measurement writes."""
STOP_TIMEOUT = 3
"""Seconds between SIGTERM and SIGKILL, for every peer that has the second."""


@dataclass(frozen=True, slots=True)
class Service:
    """One service to run. It is restarted whenever it ends, without delay or limit."""

    name: str
    argv: tuple[str, ...]
    port: int | None = None
    """One that it will listen at, for the peer that wants to know."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a peer is asked to do in one measurement."""

    root: str
    """An empty folder. Its path is short: a socket's path has 107 bytes."""
    services: tuple[Service, ...]
    logged: bool = False
    """Whether output goes to rotated files, or nowhere."""
    hurried: bool = True
    """Whether to poll for dead services as often as is sensible, if the peer has to poll."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How to start and ask a peer whose files lie in the folder of the job."""

    start: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    daemonises: bool = False
    """Whether `start` ends when all runs, and leaves a daemon behind."""
    status: Sequence[str] | None = None
    stop: Callable[[str], Sequence[str]] | None = None
    """The command that stops a service and returns when it is stopped."""
    down: Sequence[str] | None = None
    """The command that ends all; None: a signal to the first process does."""
    down_signal: int = 15
    logs: Callable[[str], Sequence[str]] | None = None
    """The files that hold the output of a service, oldest first."""
    remark: bytes = b""
    """What the lines begin with that the peer adds to a log."""


class Peer(Protocol):
    """A supervisor to measure."""

    @property
    def name(self) -> str:
        """What the tables call it."""

    @property
    def caveats(self) -> tuple[str, ...]:
        """What a reader of the figures should know of its configuration."""

    def missing(self) -> str | None:
        """Return how to install it, or None if it is there."""

    def version(self) -> str:
        """Return the version that is measured."""

    def lay_out(self, job: Job) -> Layout:
        """Write its files and return its commands."""
