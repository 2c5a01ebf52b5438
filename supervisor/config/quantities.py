"""How durations, sizes, signals and addresses are spelled. Pure text in, numbers out.

Every function raises `SpellingError` with what is wrong and what to write instead.
"""

import ipaddress
import re
import signal

_DURATION = re.compile(r"(?:[0-9]{1,12}(?:\.[0-9]{1,9})?(?:h|ms|m|s))+")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(h|ms|m|s)")
DURATION_PATTERN = r"(?:[0-9]{1,12}(?:\.[0-9]{1,9})?(?:h|ms|m|s))+"
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}

UMASK_PATTERN = r"0{1,2}[0-7]{2}"

SIZE_PATTERN = r"[0-9]{1,15}(?:\.[0-9]{1,6})?(?:B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)"
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)([A-Za-z]+)")
# IEC 80000-13: KiB is 1024 bytes; SI: kB is 1000.
_BYTES = {"B": 1, "kB": 1000, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4}
_BYTES |= {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}


class SpellingError(ValueError):
    """A text that cannot be read as what it should be."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def parse_duration(text: str) -> float:
    """Return seconds: `500ms`, `2s`, `1.5s`, `5m`, `1h30m`. Units go from large to small.

    Nothing at all needs no unit: `0`.
    """
    if text == "0":
        return 0.0
    if re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", text):
        raise SpellingError(
            f"{text} has no unit", f"write {text}s for seconds, or {text}ms, {text}m"
        )
    if text.startswith("-"):
        raise SpellingError(f"{text!r} is negative", "a duration is 0s or more")
    if not _DURATION.fullmatch(text):
        raise SpellingError(
            f"{text!r} is not a duration", "write it like 500ms, 2s, 1.5s, 5m or 1h30m"
        )
    parts = _DURATION_PART.findall(text)
    scales = [_SECONDS[unit] for _, unit in parts]
    if scales != sorted(set(scales), reverse=True):
        raise SpellingError(
            f"{text!r} has its units out of order or twice", "write large units first, like 1h30m"
        )
    return float(sum(float(number) * _SECONDS[unit] for number, unit in parts))


def format_duration(seconds: float) -> str:
    """Return a duration as the YAML spells it."""
    if seconds >= 1.0:
        for unit in ("h", "m"):
            if seconds % _SECONDS[unit] == 0:
                return f"{seconds / _SECONDS[unit]:g}{unit}"
        return f"{seconds:g}s"
    return f"{seconds * 1000:g}ms" if seconds else "0s"


def parse_size(text: str) -> int:
    """Return bytes: `10MiB` is 10 * 1024², `1GB` is 1000³, as the standards say."""
    if re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", text):
        raise SpellingError(f"{text} has no unit", "write a unit: 512KiB, 10MiB, 1GB (or 100B)")
    found = _SIZE.fullmatch(text)
    if not found:
        raise SpellingError(f"{text!r} is not a size", "write it like 512KiB, 10MiB or 1GB")
    number, unit = found.groups()
    if unit not in _BYTES:
        near = unit[0].upper()
        which = (
            f"write {near}iB (1024s) or {near}B (1000s)" if near in "KMGT" else "write MiB or MB"
        )
        raise SpellingError(f"{text!r} has no known unit", which)
    return int(float(number) * _BYTES[unit]) if "." in number else int(number) * _BYTES[unit]


def parse_umask(text: str) -> int:
    """Return the permissions that are taken from new files: three octal digits, `027`."""
    if not re.fullmatch(r"0?[0-7]{3}", text):
        raise SpellingError(
            f"{text!r} is not a umask", 'write three octal digits in quotes, like "022" or "027"'
        )
    mask = int(text, 8)
    if mask & 0o700:
        meant = f"{0o777 & ~mask:03o}"
        raise SpellingError(
            f"{text!r} takes permissions from the service itself",
            f'a umask says what is taken away: for files of mode {text[-3:]} write "{meant}"',
        )
    return mask


def parse_signal(text: str) -> int:
    """Return the number of a signal given by name, with or without SIG, here on this system."""
    if text.isdigit():
        raise SpellingError(f"signal {text} is a number", "write its name, like TERM or INT")
    name = text.upper().removeprefix("SIG")
    found = signal.Signals.__members__.get(f"SIG{name}")
    if found is None:
        raise SpellingError(
            f"there is no signal {text!r}", "write TERM, INT, HUP, QUIT, USR1 or USR2"
        )
    return int(found)


def parse_host(text: str) -> str:
    """Return an IP address without brackets; `localhost` is left to the caller."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        hint = "write an address such as 127.0.0.1 or [::1], or localhost"
        raise SpellingError(f"{text!r} is not an address", hint) from None


def parse_endpoint(text: str) -> tuple[tuple[str, int], ...]:
    """Return the addresses of `host:port`; `localhost` is both 127.0.0.1 and ::1.

    Names are refused: which address a name has may change between two starts.
    """
    host, colon, port_text = text.rpartition(":")
    if not colon or not host:
        digits = port_text if port_text.isdigit() else "3001"
        raise SpellingError(f"{text!r} is not host:port", f'write "localhost:{digits}"')
    if not re.fullmatch(r"[0-9]{1,5}", port_text) or not 1 <= int(port_text) <= 65535:
        raise SpellingError(f"{port_text!r} is not a port", "write a port from 1 to 65535")
    port = int(port_text)
    if host == "localhost":
        return (("127.0.0.1", port), ("::1", port))
    if host == "*":
        hint = f"for every interface write 0.0.0.0:{port}; for this machine only, localhost:{port}"
        raise SpellingError("“*” is not an address", hint)
    if ":" in host and not host.startswith("["):
        raise SpellingError(f"{host!r} needs brackets", f'write "[{host}]:{port}"')
    return ((parse_host(host), port),)
