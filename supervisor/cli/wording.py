"""Numbers as people say them: durations, sizes, times of day, counts. Pure."""

import time

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def duration(seconds: float) -> str:
    """Return `40 ms`, `0.9 s`, `12 s`, `2 min 5 s`, `1 h 3 min` or `3 d 4 h`."""
    seconds = max(0.0, seconds)
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f} ms" if seconds else "0 s"
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return _two(whole, _MINUTE, "min", 1, "s")
    if whole < _DAY:
        return _two(whole, _HOUR, "h", _MINUTE, "min")
    return _two(whole, _DAY, "d", _HOUR, "h")


def _two(whole: int, large: int, large_unit: str, small: int, small_unit: str) -> str:
    head, rest = divmod(whole, large)
    tail = rest // small
    return f"{head} {large_unit} {tail} {small_unit}" if tail else f"{head} {large_unit}"


def age(seconds: float) -> str:
    """Return a duration in whole seconds, for what is shown again and again: `0 s`, `2 min 5 s`."""
    return duration(float(int(max(0.0, seconds))))


def size(count: int) -> str:
    """Return `512 B`, `3.4 KiB`, `212 MiB` or `1.5 GiB` (1 KiB is 1024 bytes)."""
    if count < 1024:
        return f"{count} B"
    value = float(count)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        value /= 1024
        if value < 1023.5 or unit == "TiB":
            break
    return f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"


def count(number: int, one: str, many: str | None = None) -> str:
    """Return `1 service` or `3 services`."""
    return f"{number} {one}" if number == 1 else f"{number} {many or one + 's'}"


def times(number: int) -> str:
    """Return `once`, `twice` or `3 times`."""
    return {1: "once", 2: "twice"}.get(number, f"{number} times")


def clock(at: float, now: float) -> str:
    """Return the local time of day of a Unix time, with the date if it was not today's."""
    then, today = time.localtime(at), time.localtime(now)
    same = (then.tm_year, then.tm_yday) == (today.tm_year, today.tm_yday)
    return time.strftime("%H:%M:%S" if same else "%Y-%m-%d %H:%M:%S", then)


def listing(words: list[str]) -> str:
    """Return `a`, `a and b` or `a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"
