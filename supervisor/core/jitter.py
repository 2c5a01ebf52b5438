"""Jitter without randomness. Pure, so that a replayed history gives the same delays."""

from zlib import crc32


def fraction(*of: object) -> float:
    """Return a number in [0, 1) that only depends on the arguments.

    Services differ from each other by it, and the runs of one service too.
    """
    return crc32(":".join(map(str, of)).encode()) / 2**32
