"""What differs between two specs of a service, in words and under the YAML's own names. Pure.

A line reads `restart.backoff.max: 30s → 60s`. No line holds a secret: see
`supervisor.core.masking`.
"""

import json
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Final

from supervisor.core import masking, remedy_words
from supervisor.core.exits import SIGNAL_NAMES
from supervisor.core.spec import (
    Dependency,
    DoctorSpec,
    ExecCheck,
    GiveUp,
    HttpCheck,
    ProbeSpec,
    Remedy,
    SocketSpec,
    TcpCheck,
    Wav,
)

NONE: Final = "none"
UNSET: Final = "not set"
_LONGEST = 80
"""Characters of one side; more is cut to where the sides begin to differ."""
_BEFORE = 20
"""Characters shown before that place."""

_YAML_NAMES: Final[Mapping[str, str]] = {
    "env_files": "env_file",
    "startup": "probes.startup",
    "readiness": "probes.readiness",
    "liveness": "probes.liveness",
    "transaction": "probes.transaction",
    "busy_deadline": "probes.busy.deadline",
    "idle": "when",
    "budget": "for",
}
"""Where the YAML calls a field otherwise."""
_FLAT: Final = frozenset({"expect"})
"""Fields whose own fields stand beside them in the YAML."""
_SECONDS: Final = frozenset(
    {
        "every",
        "timeout",
        "budget",
        "first",
        "max",
        "within",
        "proven_after",
        "latency",
        "busy_deadline",
    }
)
_BYTES: Final = frozenset({"max_size", "memory", "min_bytes", "max_bytes"})

Pairs = Sequence[tuple[str, object]]


@dataclass(frozen=True, slots=True)
class Differences:
    """Tells what differs; `known` are secrets that no line may hold, wherever they stand."""

    known: Collection[str] = ()

    def of(self, field: str, old: object, new: object) -> Iterator[str]:
        """Yield a line for each difference in a field of a ServiceSpec (or `limits.memory`)."""
        group, dot, name = field.rpartition(".")
        yield from self._field(group + dot, name, old, new)

    def variable(self, group: str, name: str, old: str | None, new: str | None) -> str:
        """Return the line for one variable or header: `env.NAME: a → b`."""
        before, now = masking.masked_pair(name, old, new, self.known)
        return _line(f"{group}.{name}", _value(before), _value(now))

    def _field(self, prefix: str, name: str, old: object, new: object) -> Iterator[str]:
        """Yield the lines for one field of a dataclass; `prefix` ends with a dot or is empty."""
        if _same(old, new):
            return
        label = prefix + _YAML_NAMES.get(name, name)
        lines = list(self._lines(prefix, label, name, old, new))
        yield from lines or [_line(label, *self._words(name, old, new))]

    def _lines(self, prefix: str, label: str, name: str, old: object, new: object) -> Iterator[str]:
        """Yield the lines where the parts tell more than the whole; nothing otherwise."""
        match old, new:
            case Mapping(), Mapping():
                yield from self._variables(label, old, new)
            case tuple(), tuple() if name == "headers":
                yield from self._variables(label, dict(old), dict(new))
            case tuple(), tuple() if name == "json":
                for path, before, now in _by_name(old, new):
                    yield self.variable(label, path, _json(before), _json(now))
            case tuple(), tuple() if name == "depends_on":
                for on, before, now in _by_name(_edges(old), _edges(new)):
                    yield _line(f"{label}.{on}", *(_or_none(v) for v in (before, now)))
            case tuple(), tuple() if name == "sockets":
                for socket, before, now in _by_name(_sockets(old), _sockets(new)):
                    yield _line(f"{label}.{socket}", *(_or_none(v) for v in (before, now)))
            case tuple(), tuple() if name == "remedies":
                for rule, before, now in _by_name(_rules(old), _rules(new)):
                    shown = (masking.split(_or_none(v), self.known) for v in (before, now))
                    yield _line(f"{label}.{rule}", *(text.masked() for text in shown))
            case (HttpCheck(), HttpCheck()) | (TcpCheck(), TcpCheck()) | (ExecCheck(), ExecCheck()):
                if isinstance(old, ExecCheck) and isinstance(new, ExecCheck):
                    words = self._arguments(old.command, new.command)
                    yield _line(f"{prefix}exec", *words)
                else:
                    kind = "http" if isinstance(old, HttpCheck) else "tcp"
                    yield from self._parts(f"{prefix}{kind}.", old, new)
            case _ if is_dataclass(old) and type(old) is type(new):
                yield from self._parts(prefix if name in _FLAT else f"{label}.", old, new)

    def _parts(self, prefix: str, old: object, new: object) -> Iterator[str]:
        assert is_dataclass(old), "the caller has looked"  # noqa: S101
        for field in fields(old):
            yield from self._field(
                prefix, field.name, getattr(old, field.name), getattr(new, field.name)
            )

    def _variables(
        self, label: str, old: Mapping[str, str], new: Mapping[str, str]
    ) -> Iterator[str]:
        for name in dict.fromkeys((*old, *new)):
            if old.get(name) != new.get(name):
                yield self.variable(label, name, old.get(name), new.get(name))

    def _words(self, name: str, old: object, new: object) -> tuple[str, str]:
        """Return both values of a field in words."""
        if name == "command":
            return self._arguments(_texts(old), _texts(new))
        if name == "body":
            # Not the bytes themselves: a body is long, and may hold a password.
            return _length(old), _length(new)
        if name in ("startup", "readiness", "liveness", "transaction", "check", "doctor"):
            return self._probe(old), self._probe(new)
        # A description or a path may carry a secret too: `/health?token=…`.
        before = masking.split(_plain(name, old), self.known)
        now = masking.split(_plain(name, new), self.known)
        hidden = [before.hidden] if before.hidden else []
        return _told(before, old), _told(now, new, hidden)

    def _probe(self, probe: object) -> str:
        match probe:
            case ProbeSpec(check=check, every=every):
                return f"{self._probe(check)} every {_seconds(every)}"
            case HttpCheck(host=host, port=port, path=path, method=method):
                shown = masking.split(path, self.known).masked()
                return f"{method} http://{_address(host, port)}{shown}"
            case TcpCheck(host=host, port=port):
                return f"tcp {_address(host, port)}"
            case ExecCheck(command=command) | DoctorSpec(command=command):
                return _joined(masking.split_arguments(command, self.known))
            case _:
                return NONE

    def _arguments(self, old: Sequence[str], new: Sequence[str]) -> tuple[str, str]:
        before = masking.split_arguments(old, self.known)
        now = masking.split_arguments(new, self.known)
        hidden = frozenset(text.hidden for text in before if text.hidden)
        return _joined(before), _joined(now, hidden)


class _Absent:
    """No value at all, where None is one."""


_ABSENT = _Absent()


def _same(old: object, new: object) -> bool:
    """Tell whether nothing differs. `1 == True` to Python, and not to a JSON expectation."""
    if isinstance(old, Mapping):
        return old == new
    return old == new and repr(old) == repr(new)


def _line(label: str, old: str, new: str) -> str:
    old, new = _cut(old, new)
    # Two bodies of one length, or two numbers that are rounded to one.
    return f"{label}: {old} → {new}{' (changed)' if old == new else ''}"


def _cut(old: str, new: str) -> tuple[str, str]:
    if max(len(old), len(new)) <= _LONGEST:
        return old, new
    differ = (at for at, (a, b) in enumerate(zip(old, new, strict=False)) if a != b)
    at = next(differ, min(len(old), len(new)))
    begin = max(0, at - _BEFORE) if at > _LONGEST // 2 else 0
    return _window(old, begin), _window(new, begin)


def _window(text: str, begin: int) -> str:
    end = begin + _LONGEST
    return f"{'…' if begin else ''}{text[begin:end]}{'…' if end < len(text) else ''}"


def _value(text: str | None) -> str:
    if text is None:
        return UNSET
    return text if text and text == text.strip() else f"'{text}'"


def _joined(arguments: Sequence[masking.Text], before: Collection[str] = ()) -> str:
    return " ".join(
        argument.masked(before) if argument.hidden else _quoted(argument.shown)
        for argument in arguments
    )


def _quoted(argument: str) -> str:
    # Only what could be misread: shlex would also quote every word that is not ASCII.
    plain = argument and not any(c.isspace() or c in "'\"\\" for c in argument)
    return argument if plain else shlex.quote(argument)


def _by_name(old: Pairs, new: Pairs) -> Iterator[tuple[str, object, object]]:
    """Yield what differs by name, _ABSENT standing for no value."""
    before, now = dict(old), dict(new)
    for name in dict.fromkeys((*before, *now)):
        values = before.get(name, _ABSENT), now.get(name, _ABSENT)
        if not _same(*values):
            yield name, *values


def _edges(dependencies: Sequence[Dependency]) -> Pairs:
    return [(edge.on, edge.condition.value) for edge in dependencies]


def _sockets(sockets: Sequence[SocketSpec]) -> Pairs:
    return [(socket.name, _socket(socket)) for socket in sockets]


def _socket(socket: SocketSpec) -> str:
    addresses = ", ".join(_address(host, port) for host, port in socket.addresses)
    return f"{addresses} (backlog {socket.backlog})"


def _rules(remedies: Sequence[Remedy]) -> Pairs:
    return [(rule.name, remedy_words.rule(rule)) for rule in remedies]


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _or_none(value: object) -> str:
    return NONE if isinstance(value, _Absent) else str(value)


def _texts(value: object) -> Sequence[str]:
    return [str(item) for item in value] if isinstance(value, tuple) else []


def _length(body: object) -> str:
    return f"{len(body)} bytes" if isinstance(body, bytes) else NONE


def _json(value: object) -> str | None:
    return None if isinstance(value, _Absent) else json.dumps(value, ensure_ascii=False)


def _told(text: masking.Text, value: object, before: Collection[str] = ()) -> str:
    shown = text.masked(before)
    return _value(shown) if isinstance(value, str) else shown


def _plain(name: str, value: object) -> str:
    """Return a value as the YAML would say it, so far as it can be said on one line."""
    match value:
        case None:
            return NONE
        case bool() if name == "idle":
            return "idle" if value else "always"
        case bool():
            return "true" if value else "false"
        case float() if name in _SECONDS:
            return _seconds(value)
        case int() if name in _BYTES:
            return _size(value)
        case int() if name == "signal":
            return SIGNAL_NAMES.get(value, str(value)).removeprefix("SIG")
        case int() if name == "umask":
            return f"{value:03o}"
        case bytes():
            return value.decode("utf-8", "backslashreplace")
        case tuple() if name == "status":
            return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in value) or NONE
        case tuple():
            return ", ".join(map(str, value)) or NONE
        case GiveUp():
            return f"after {value.after} within {_seconds(value.within)}"
        case Wav():
            return f"at least {value.min_seconds:g} s"
        case str():
            return value
        case _:
            return str(value)


def _seconds(seconds: float) -> str:
    """Return a duration as people write it: `250ms`, `60s`, `5m`, `2h`."""
    if 0 < seconds < 1:
        return f"{_number(seconds * 1000)}ms"
    if seconds >= 3600 and seconds % 3600 == 0:
        return f"{seconds / 3600:.0f}h"
    if seconds >= 120 and seconds % 60 == 0:
        return f"{seconds / 60:.0f}m"
    return f"{_number(seconds)}s"


def _number(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _size(count: int) -> str:
    for unit, scale in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if count and count % scale == 0:
            return f"{count // scale}{unit}"
    return f"{count}B"
