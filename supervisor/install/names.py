"""What a login item is called, and how a file of ours is known: light, since `status` asks."""

import os
import re
from typing import Final

from supervisor.posix.environment import fleet_mark

MARK: Final = "Written by `atlasctl install` for "
"""In every file of ours; one without it is somebody else's, and stays as it is."""
_MARKED: Final = re.compile(f"{re.escape(MARK)}(.*), which writes it anew")
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9]+")
_LONGEST: Final = 40


def mark(config: str) -> str:
    """Return what tells a file of ours for this YAML from any other. No `--`: XML forbids it."""
    return f"{MARK}{config.replace('%', '%25').replace('--', '-%2D')}, which writes it anew."


def config_in(text: str) -> str | None:
    """Return the YAML that a file of ours is for, or None if it is no file of ours."""
    found = _MARKED.search(text)
    return found[1].replace("-%2D", "--").replace("%25", "%") if found else None


def system_name(state_dir: str) -> str:
    """Return a name that no other system of this user has: `atlas-1a2b3c4d`.

    The folder of the system for people, and a mark of its path for the rest.
    """
    folder = os.path.basename(os.path.dirname(os.path.realpath(state_dir)))
    safe = _UNSAFE.sub("-", folder)[:_LONGEST].strip("-") or "system"
    return f"{safe}-{fleet_mark(state_dir)}"


def label(name: str) -> str:
    """Return the launch agent's label for the system of this name."""
    return f"org.atlasctl.{name}"


def unit_name(name: str) -> str:
    """Return the user unit's name for the system of this name."""
    return f"atlasctl-{name}.service"
