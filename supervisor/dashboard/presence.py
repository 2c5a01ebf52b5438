"""Where the dashboard that runs can be reached: what it leaves for `atlasctl dashboard`.

A port alone would not do: once the dashboard has ended, another user's program could listen there
and be handed the token. So the file names the process, and who reads it asks whether that very one
still lives.
"""

import contextlib
import json
import os
from dataclasses import asdict
from typing import Final

from supervisor.posix.identity import ProcessIdentity, identify, is_alive
from supervisor.posix.state import write_whole

NAME: Final = "dashboard.json"
_LONGEST: Final = 4096


def announce(state_dir: str, url: str) -> None:
    """Write down where this process serves. Raises OSError."""
    who = identify(os.getpid())
    told = {"url": url, "process": None if who is None else asdict(who)}
    write_whole(os.path.join(state_dir, NAME), (json.dumps(told) + "\n").encode("ascii"))


def find(state_dir: str) -> str | None:
    """Return the URL of the dashboard that runs, or None if none does."""
    path = os.path.join(state_dir, NAME)
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            told = json.loads(file.read(_LONGEST))
        if is_alive(ProcessIdentity(**told["process"])):
            return str(told["url"])
    return None
