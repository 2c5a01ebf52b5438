"""The descriptor store of the sink: copies of sockets that outlive the daemon that opened them.

Kept true: what is stored under a name is replaced whole or not at all, and a descriptor is closed
as soon as it is not stored any more.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from supervisor.logs.conversation import MOST_DESCRIPTORS
from supervisor.logs.requests import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_STORED = 8192
LONGEST_NAME = 512


class DescriptorStore:
    """Descriptors by name, in the order in which the names came."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[int, ...]] = {}
        self.count = 0
        """How many descriptors there are in all."""

    def put(self, name: str, descriptors: Sequence[int]) -> None:
        """Take these over, in place of what is there under the name.

        Raises RequestError; they are the caller's still then.
        """
        if len(name) > LONGEST_NAME:
            raise RequestError(f"name is longer than {LONGEST_NAME} characters")
        left = self.count - len(self._entries.get(name, ()))
        if left + len(descriptors) > MOST_STORED:
            raise RequestError(f"the store holds at most {MOST_STORED} descriptors")
        self.drop(name)
        self._entries[name] = tuple(descriptors)
        self.count += len(descriptors)

    def drop(self, name: str) -> None:
        """Close what is stored under the name, if anything is."""
        for descriptor in self._entries.pop(name, ()):
            os.close(descriptor)
            self.count -= 1

    def page(self, start: int) -> tuple[list[str], tuple[int, ...], int]:
        """Return names and descriptors from the one at `start` on, and how many come after.

        At most as many as fit beside one message: Linux takes 253 (SCM_MAX_FD).
        """
        pairs = [(name, fd) for name, descriptors in self._entries.items() for fd in descriptors]
        part = pairs[start : start + MOST_DESCRIPTORS]
        left = max(0, len(pairs) - start - len(part))
        return [name for name, _ in part], tuple(fd for _, fd in part), left
