"""Numbers to words: medians, percentiles, units, ratios and Markdown tables. Pure."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

Samples = Mapping[str, Sequence[float]]
"""What was measured, by peer."""


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value below or at which `percent` (0 to 100) of the values lie.

    Between two values it is interpolated linearly, as numpy does by default. Raises ValueError
    for no values.
    """
    if not values:
        raise ValueError("no values have no percentile")
    if not 0 <= percent <= 100:
        raise ValueError(f"{percent} is not within 0 to 100")
    ordered = sorted(values)
    at = (len(ordered) - 1) * percent / 100
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def median(values: Sequence[float]) -> float:
    """Return the middle value."""
    return percentile(values, 50)


def p99(values: Sequence[float]) -> float:
    """Return the value that one in a hundred exceeds."""
    return percentile(values, 99)


class Unit(StrEnum):
    """What a figure counts, as it is kept; `show` chooses how it is written."""

    SECONDS = "s"
    MILLISECONDS = "ms"
    """Kept in seconds."""
    CORE = "% of a core"
    """Kept as a part of 1."""
    PER_SECOND = "/s"
    MEBIBYTES = "MiB"
    """Kept in bytes."""
    MEGABYTES_PER_SECOND = "MB/s"
    """Kept in bytes a second."""
    COUNT = ""


_FACTOR = {
    Unit.MILLISECONDS: 1e3,
    Unit.CORE: 1e2,
    Unit.MEBIBYTES: 1 / 2**20,
    Unit.MEGABYTES_PER_SECOND: 1e-6,
}


def show(value: float, unit: Unit) -> str:
    """Return a figure with three significant digits, no unit."""
    shown = value * _FACTOR.get(unit, 1.0)
    if unit is Unit.COUNT and shown == int(shown):
        return str(int(shown))
    if shown == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(shown))))
    return f"{shown:.{min(digits, 4)}f}"


@dataclass(frozen=True, slots=True)
class Metric:
    """One column of a table."""

    key: str
    title: str
    unit: Unit
    reduce: Callable[[Sequence[float]], float] = median
    ratio: bool = True
    """Whether the cell also says how many times the first peer's figure it is."""

    def heading(self) -> str:
        """Return title and unit."""
        return f"{self.title}, {self.unit.value}" if self.unit.value else self.title


Results = Mapping[str, Samples]
"""By the key of a metric, then by peer."""


def reduced(results: Results, metric: Metric, peer: str) -> float | None:
    """Return the figure of a peer, or None if nothing was measured."""
    samples = results.get(metric.key, {}).get(peer)
    return metric.reduce(samples) if samples else None


def cell(value: float | None, base: float | None, metric: Metric) -> str:
    """Return a figure, and its ratio to `base` where there is one."""
    if value is None:
        return "–"
    shown = show(value, metric.unit)
    if base and metric.ratio:
        times = value / base
        shown += f" ({show(times, Unit.SECONDS)}×)"
    return shown


def table(results: Results, metrics: Sequence[Metric], peers: Sequence[str]) -> str:
    """Return a Markdown table: a row for each peer, ratios to the first of them.

    Columns and rows of which nothing was measured are left out; empty if nothing was at all.
    """
    shown = [m for m in metrics if any(results.get(m.key, {}).get(p) for p in peers)]
    rows = [p for p in peers if any(results.get(m.key, {}).get(p) for m in shown)]
    if not rows:
        return ""
    lines = [["", *(metric.heading() for metric in shown)]]
    for peer in rows:
        cells = []
        for metric in shown:
            base = None if peer == peers[0] else reduced(results, metric, peers[0])
            cells.append(cell(reduced(results, metric, peer), base, metric))
        lines.append([peer, *cells])
    return markdown(lines)


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Return rows as a Markdown table, the first as its head, figures to the right."""
    escaped = [[text.replace("|", "\\|") for text in line] for line in lines]
    widths = [max(3, *(len(line[at]) for line in escaped)) for at in range(len(escaped[0]))]
    rules = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

    def row(line: Sequence[str]) -> str:
        first = line[0].ljust(widths[0])
        rest = [text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True)]
        return "| " + " | ".join([first, *rest]) + " |"

    return "\n".join([row(escaped[0]), row(rules), *map(row, escaped[1:])])
