"""What a daemon that was killed has left running: no command may say "nothing runs" over it."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass

from supervisor.ledger import MAX_READ, NAME, Record
from supervisor.posix.identity import ProcessIdentity, is_alive


@dataclass(frozen=True, slots=True)
class Survivor:
    """A service that runs with no daemon to watch it."""

    service: str
    pid: int


def survivors(state_dir: str) -> list[Survivor]:
    """Return the runs in the ledger whose process lives, proven by start time and boot id."""
    latest = {record.unit: record for record in _records(os.path.join(state_dir, NAME))}
    return [
        Survivor(record.unit, record.pid)
        for record in latest.values()
        if record.pid is not None
        and is_alive(ProcessIdentity(record.pid, record.ticks, record.boot, os.geteuid()))
    ]


def _records(path: str) -> Iterator[Record]:
    try:
        with open(path, "rb") as file:
            lines = file.read(MAX_READ).splitlines()
    except OSError:
        return
    for line in lines:
        try:
            yield Record(**json.loads(line))
        except (ValueError, TypeError):
            continue
