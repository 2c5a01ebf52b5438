"""Everything wrong with a configuration, told at once and in words a person can act on.

A `Problem` says where (file, line, column, path of keys), what, and what to do about it. A
`ConfigError` holds all of them in the order of the file. Nothing here imports YAML or pydantic:
the daemon and every command of the CLI load this module.
"""

from collections.abc import Iterable
from dataclasses import dataclass

SHOWN = 50
"""A broken generated file has thousands of problems; a screen has about fifty lines."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. Lines and columns count from 1; None where there is none."""

    file: str
    line: int | None
    column: int | None
    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        """Return `file:line:column path: message; hint`, without the parts that are missing."""
        file = self.file
        if not file.isprintable():
            # YAML can name a file with a line end in it, and a problem is one line.
            file = file.encode("unicode_escape").decode("ascii")
        where = ":".join(str(part) for part in (file, self.line, self.column) if part)
        what = f"{self.path}: {self.message}" if self.path else self.message
        line = f"{where} {what}" if self.path else f"{where}: {what}"
        return f"{line}; {self.hint}" if self.hint else line


class ConfigError(Exception):
    """The configuration cannot be used; `problems` is never empty."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        ordered = sorted(
            dict.fromkeys(problems), key=lambda p: (p.file, p.line or 0, p.column or 0, p.path)
        )
        if not ordered:
            raise AssertionError("a ConfigError without a problem")
        self.problems: tuple[Problem, ...] = tuple(ordered)
        super().__init__(self.problems)

    def __str__(self) -> str:
        """Return one problem a line, the first fifty, and a count of the others."""
        lines = [str(problem) for problem in self.problems[:SHOWN]]
        if len(self.problems) > SHOWN:
            lines.append(f"… and {len(self.problems) - SHOWN} more")
        return "\n".join(lines)


def format_path(path: Iterable[str | int]) -> str:
    """Return a path of keys as people write it: `services.tts.command[2]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part and all(c.isalnum() or c in "_-" for c in part):
            text += f".{part}" if text else part
        else:
            text += f"[{clip(part)!r}]"
    return text


def clip(text: str, *, most: int = 60) -> str:
    """Return text short enough for a line of an error message."""
    return text if len(text) <= most else text[: most - 1] + "…"
