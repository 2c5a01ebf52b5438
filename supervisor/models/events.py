"""What happens during a fetch, as it happens: for a person's terminal and for `--json`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Already:
    """The file is there and right."""

    model: str
    name: str
    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Adopted:
    """The file was there and nobody had recorded it; now it is."""

    model: str
    name: str
    path: str
    size: int
    compared: bool
    """Whether pieces of it were compared with the server's."""


@dataclass(frozen=True, slots=True)
class Linked:
    """A copy was found elsewhere and linked."""

    model: str
    name: str
    path: str
    origin: str
    size: int
    symbolic: bool
    compared: bool
    """Whether it is known to be the right file: by its SHA-256, or compared with the server's."""


@dataclass(frozen=True, slots=True)
class Replacing:
    """What lies in the file's place is wrong and is fetched anew."""

    model: str
    name: str
    path: str
    why: str


@dataclass(frozen=True, slots=True)
class Progress:
    """Bytes have come. `total` is None if the server does not say."""

    model: str
    name: str
    done: int
    total: int | None
    resumed: int
    """Bytes that an earlier fetch had left."""


@dataclass(frozen=True, slots=True)
class Retrying:
    """An attempt failed; another follows after `pause` seconds."""

    model: str
    name: str
    why: str
    pause: float


@dataclass(frozen=True, slots=True)
class Fetched:
    """The file was fetched, checked and put in its place."""

    model: str
    name: str
    path: str
    size: int
    sha256: str
    first: bool
    """Whether its SHA-256 was recorded now rather than compared."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The file could not be had."""

    model: str
    name: str
    """Empty where it is about the whole model."""
    message: str
    hint: str


Event = Already | Adopted | Linked | Replacing | Progress | Retrying | Fetched | Failed
