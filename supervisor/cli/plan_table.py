"""What `plan` and `reload` show of a new configuration: a table, and a sentence. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence

from supervisor.cli import wording
from supervisor.cli.terminal import Paint, columns, printable
from supervisor.control.messages import ChangeMessage

_COLORS = {"restart": "yellow", "live": "cyan", "add": "green", "remove": "red"}
_PLANNED = {
    "restart": "to restart",
    "live": "to change without a restart",
    "add": "to add",
    "remove": "to remove",
}
_DONE = {
    "restart": "restarted",
    "live": "changed without a restart",
    "add": "added",
    "remove": "removed",
}
_LONGEST = 12
"""Lines for one service; the rest is counted."""


def is_change(change: ChangeMessage) -> bool:
    """Tell whether anything becomes different."""
    return change["kind"] != "none"


def change_lines(changes: Sequence[ChangeMessage], paint: Paint) -> list[str]:
    """Return the table of what changes, and nothing where nothing does."""
    rows = [tuple(paint(word, "bold") for word in ("SERVICE", "CHANGE", "WHY"))]
    for change in filter(is_change, changes):
        name, kind = printable(change["service"]), change["kind"]
        first, *rest = _reasons(change) or [""]
        rows.append((name, paint(kind, _COLORS[kind]), first))
        rows += [("", "", line) for line in rest]
    return columns(rows) if len(rows) > 1 else []


def _reasons(change: ChangeMessage) -> list[str]:
    lines = [printable(line) for line in change["why"]]
    if len(lines) <= _LONGEST:
        return lines
    left_out = len(lines) - _LONGEST + 1
    return [*lines[: _LONGEST - 1], f"… and {left_out} more; --json shows all"]


def plan_summary(changes: Sequence[ChangeMessage], config: str) -> str:
    """Return the sentence under `plan`; `config` is the path of the YAML as people see it."""
    if not any(map(is_change, changes)):
        services = wording.count(len(changes), "service")
        return f"Nothing to do: what runs is as {config} says ({services})."
    return f"{_counted(changes, _PLANNED)}. To apply it: atlasctl reload"


def reload_summary(changes: Sequence[ChangeMessage], config: str, elapsed: float | None) -> str:
    """Return the sentence after `reload`; `elapsed` in seconds, None where nobody waited."""
    if not any(map(is_change, changes)):
        return plan_summary(changes, config)
    if elapsed is None:
        return f"Asked for: {_counted(changes, _PLANNED)}; see: atlasctl status"
    return f"Reloaded after {wording.duration(elapsed)}: {_counted(changes, _DONE)}."


def _counted(changes: Iterable[ChangeMessage], words: dict[str, str]) -> str:
    kinds: Counter[str] = Counter(change["kind"] for change in changes)
    parts = [f"{kinds[kind]} {word}" for kind, word in words.items() if kinds[kind]]
    if kinds["none"]:
        parts.append(f"{kinds['none']} unchanged")
    return wording.listing(parts)
