"""How large a log may grow, and how many older ones stay."""

from __future__ import annotations

from typing import NamedTuple

SMALLEST_MAX_SIZE = 4096
LARGEST_KEEP = 1000


class Policy(NamedTuple):
    """How large a log file may grow (bytes), how many older ones stay, whether they are gzipped."""

    max_size: int
    keep: int
    compress: bool

    def problem(self) -> str | None:
        """Return what is wrong with this policy in words; None if it can be used."""
        if self.max_size < SMALLEST_MAX_SIZE:
            return f"max_size is {self.max_size}: give at least {SMALLEST_MAX_SIZE} bytes"
        if not 0 <= self.keep <= LARGEST_KEEP:
            return f"keep is {self.keep}: give 0 to {LARGEST_KEEP}"
        return None
