"""What is installed."""

import subprocess
from collections.abc import Sequence


def said(argv: Sequence[str], env: dict[str, str] | None = None) -> str:
    """Return the last line that a command prints; empty if it cannot be run."""
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=30, check=False, env=env
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = done.stdout.split("\n") if done.returncode == 0 else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def package(name: str) -> str:
    """Return the version of a Debian package; empty where there is no dpkg."""
    return said(["dpkg-query", "--show", "--showformat=${Version}", name])
