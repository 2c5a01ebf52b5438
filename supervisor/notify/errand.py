"""What the daemon sends its courier out with, and what the courier remembers: files of the state.

The errand holds secrets (URLs, headers), so it goes by a file that only this user can read and
that is gone once the courier has read it; a command line or an environment is seen by others.
"""

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from supervisor.config import codec
from supervisor.core.notify import MetricsFile, Target
from supervisor.core.spec import FleetSpec
from supervisor.notify.mailbox import Letter
from supervisor.posix.state import UnsafePathError, check_own_file, write_whole

ERRAND: Final = "courier-errand.json"
MEMORY: Final = "courier.json"
LOCK: Final = "courier.lock"
PACKAGE: Final = str(Path(__file__).parent.parent.parent)
"""Where our code is: the courier's PYTHONPATH, and not that of the commands that it runs."""
_LARGEST: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Errand:
    """What one courier is to do."""

    targets: tuple[Target, ...] = ()
    metrics: MetricsFile | None = None
    unproven: tuple[str, ...] = ()
    """Services without a probe that could say that they work."""
    begin: int = 0
    """The journal's number after which is told what no earlier courier has heard of."""

    @classmethod
    def of(cls, spec: FleetSpec, begin: int) -> "Errand | None":
        """Return what a configuration asks for; None: nothing."""
        if not spec.notify and spec.metrics is None:
            return None
        names = (s.name for s in spec.services if s.startup is None and s.readiness is None)
        return cls(spec.notify, spec.metrics, tuple(names), begin)

    def is_like(self, other: "Errand") -> bool:
        """Tell whether a courier that does the one does the other."""
        return replace(self, begin=0) == replace(other, begin=0)


@dataclass(frozen=True, slots=True)
class Remembered:
    """What is known of one target."""

    letters: tuple[Letter, ...] = ()
    troubled: tuple[str, ...] = ()
    """Services of whose trouble it was told."""
    dropped: int = 0
    delivered: int = 0
    given_up: int = 0
    last_words: str = ""
    """What came of the latest try."""
    last_at: float = 0.0
    """When; Unix seconds, 0: there was none."""
    last_ok: bool = True


@dataclass(frozen=True, slots=True)
class Memory:
    """What a courier knows that the next one must not tell again."""

    seq: int
    """The last entry of the journal that was heard."""
    targets: Mapping[str, Remembered] = field(default_factory=dict)


def send_out(state_dir: str, errand: Errand) -> None:
    """Write the errand for the courier that is started next. Raises OSError."""
    _write(f"{state_dir}/{ERRAND}", errand)


def take_up(state_dir: str) -> Errand:
    """Read the errand, which is gone then. Raises OSError, ValueError or UnsafePathError."""
    path = f"{state_dir}/{ERRAND}"
    data = _read(path)
    os.unlink(path)
    return codec.decode(Errand, json.loads(data))


def recall(state_dir: str) -> Memory | None:
    """Return what the last courier knew; None if there was none, or it can be read no more."""
    try:
        return codec.decode(Memory, json.loads(_read(f"{state_dir}/{MEMORY}")))
    except (OSError, ValueError, UnsafePathError):
        return None


def remember(state_dir: str, memory: Memory) -> None:
    """Write down what was heard and what is still to be told, in one step. Raises OSError."""
    _write(f"{state_dir}/{MEMORY}", memory)


def forget(state_dir: str) -> None:
    """Remove what couriers have left, where nobody is to be told of anything any more."""
    for name in (ERRAND, MEMORY):
        with contextlib.suppress(OSError):
            os.unlink(f"{state_dir}/{name}")


def _write(path: str, value: object) -> None:
    # A lone surrogate of a file name has an escape in JSON.
    write_whole(path, json.dumps(codec.encode(value)).encode("ascii"))


def _read(path: str) -> bytes:
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        check_own_file(os.fstat(file.fileno()), path)
        return file.read(_LARGEST)
