"""Environment files: `KEY=VALUE` lines, read at every spawn, so that no stale value survives.

Nothing is executed and nothing is expanded: `$` is an ordinary character here. Within double quotes
`\\n \\t \\r \\" \\\\ \\$` are escapes; within single quotes nothing is. `#` begins a comment at
the start of a line, and after white space behind a value. A later line wins over an earlier one.
A quoted value may not run over several lines: a quote that is left open is an error instead.
"""

import re

from supervisor.config.files import read_regular
from supervisor.config.problems import ConfigError, Problem, clip

MAX_BYTES = 256 * 1024
"""Linux refuses an environment of more than a few MiB (E2BIG); a file this large is a mistake."""

NAME_PATTERN = r"[A-Za-z_][A-Za-z0-9_]*"
_NAME = re.compile(NAME_PATTERN)
_ASSIGNMENT = re.compile(r"(?:export[ \t]+)?([^=\s]+)[ \t]*=[ \t]*(.*)", re.DOTALL)
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"(.*)', re.DOTALL)
_SINGLE = re.compile(r"'([^']*)'(.*)", re.DOTALL)
_COMMENT_AFTER = re.compile(r"(?:^|[ \t])#.*", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "$": "$"}


def read_env_file(path: str) -> dict[str, str]:
    """Return the variables of this file. Raises ConfigError with every bad line."""
    try:
        data = read_regular(path, MAX_BYTES)
    except FileNotFoundError:
        hint = "create it, or remove it from env_file"
        raise _whole(path, "the environment file does not exist", hint) from None
    except OSError as error:
        hint = "it must be a file that you can read"
        raise _whole(path, f"cannot be read: {error.strerror}", hint) from None
    if len(data) > MAX_BYTES:
        raise _whole(path, f"larger than {MAX_BYTES // 1024} KiB", "is this an environment file?")
    return parse_env(data, path)


def parse_env(data: bytes, file: str) -> dict[str, str]:
    """Return the variables in this text. Raises ConfigError with every bad line."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        at = data.count(b"\n", 0, error.start) + 1
        message = f"byte 0x{data[error.start]:02x} is not UTF-8"
        raise ConfigError([Problem(file, at, None, "", message, "save it as UTF-8")]) from None
    values: dict[str, str] = {}
    problems: list[Problem] = []
    for number, line in enumerate(text.split("\n"), start=1):
        bare = line.strip(" \t\r")
        if not bare or bare.startswith("#"):
            continue
        try:
            name, value = _assignment(bare)
        except ValueError as error:
            message, hint = error.args
            problems.append(Problem(file, number, None, "", message, hint))
        else:
            values[name] = value
    if problems:
        raise ConfigError(problems)
    return values


def _assignment(line: str) -> tuple[str, str]:
    found = _ASSIGNMENT.fullmatch(line)
    if found is None:
        raise ValueError(f"{clip(line)!r} is not KEY=VALUE", "write KEY=VALUE, or # for a comment")
    name, rest = found.groups()
    if not _NAME.fullmatch(name):
        hint = "use letters, digits and _, not a digit first"
        raise ValueError(f"{clip(name)!r} cannot name a variable", hint)
    value = _value(name, rest)
    if "\0" in value:
        raise ValueError(f"{name} holds a NUL character", "no environment variable can hold one")
    return name, value


def _value(name: str, rest: str) -> str:
    if rest[:1] not in ('"', "'"):
        return _COMMENT_AFTER.sub("", rest, count=1).rstrip(" \t")
    found = (_DOUBLE if rest[0] == '"' else _SINGLE).fullmatch(rest)
    if found is None:
        hint = "close it on the same line; for a line break write \\n in double quotes"
        raise ValueError(f"the quote of {name} is never closed", hint)
    inner, after = found.groups()
    if after.strip(" \t") and not after.lstrip(" \t").startswith("#"):
        hint = "put the whole value in quotes"
        raise ValueError(f"text after the closing quote of {name}", hint)
    if rest[0] == "'":
        return str(inner)
    return re.sub(r"\\(.)", lambda e: _ESCAPES.get(e[1], e[0]), inner, flags=re.DOTALL)


def _whole(path: str, message: str, hint: str) -> ConfigError:
    return ConfigError([Problem(path, None, None, "", message, hint)])
