"""Two voices' figures as a table with ratios, and the targets. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.figures import Unit, markdown, median, show

Comparison = dict[str, dict[str, list[float]]]
"""By what was measured, then by voice; samples of one index were taken in turn."""


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was measured."""

    key: str
    title: str
    unit: Unit
    target: float | None = None
    """How many times stock's figure has to be ours."""
    part_of: str | None = None
    """The key by whose median of stock a figure is divided, as seconds by the audio's length."""


ROWS: Final = (
    Row("start", "process start to first word spoken", Unit.SECONDS, 4.0),
    Row("10/whole", "10 characters", Unit.SECONDS),
    Row("60/whole", "60 characters", Unit.SECONDS, 1.5),
    Row("300/whole", "300 characters", Unit.SECONDS, 2.0),
    Row("1000/whole", "1000 characters", Unit.SECONDS),
    Row("10/whole", "real-time factor, 10 characters", Unit.COUNT, part_of="10/audio"),
    Row("60/whole", "real-time factor, 60 characters", Unit.COUNT, part_of="60/audio"),
    Row("300/whole", "real-time factor, 300 characters", Unit.COUNT, part_of="300/audio"),
    Row("1000/whole", "real-time factor, 1000 characters", Unit.COUNT, part_of="1000/audio"),
    Row("60/first", "first audio of 60 characters", Unit.SECONDS),
    Row("300/first", "first audio of 300 characters", Unit.SECONDS),
    Row("1000/first", "first audio of 1000 characters", Unit.SECONDS, 8.0),
    Row("crowd/first", "8 clients at once: median first audio", Unit.SECONDS),
    Row("crowd/last", "8 clients at once: all served", Unit.SECONDS),
    Row("pss", "peak memory, PSS", Unit.MEBIBYTES, 1.0),
    Row("rss", "peak memory, RSS", Unit.MEBIBYTES, 1.0),
)


def ratios(stock: Sequence[float], ours: Sequence[float]) -> list[float]:
    """Returns how many times ours each of stock's figures is, turn by turn."""
    return [one / other for one, other in zip(stock, ours, strict=False) if other > 0]


def table(samples: Comparison) -> str:
    """Returns a Markdown table: medians, and the ratio with its spread; empty rows are left out."""
    lines = [["", "stock", "ours", "stock / ours", "least to most"]]
    for row in ROWS:
        stock, ours = _figures(samples, row)
        times = ratios(stock, ours)
        if not times:
            continue
        unit = f", {row.unit.value}" if row.unit.value else ""
        lines.append(
            [
                f"{row.title}{unit}",
                show(median(stock), row.unit),
                show(median(ours), row.unit),
                f"{median(times):.2f} ×",
                f"{min(times):.2f} to {max(times):.2f}, n={len(times)}",
            ]
        )
    return markdown(lines)


def verdicts(samples: Comparison) -> list[str]:
    """Returns a line for each target: reached or missed, and with what."""
    lines = []
    for row in ROWS:
        times = ratios(*_figures(samples, row))
        if row.target is None or row.part_of or not times:
            continue
        word = "reached" if median(times) >= row.target else "MISSED"
        lines.append(f"- {word}: {row.title}, {median(times):.2f} × (at least {row.target:g} ×)")
    return lines


def _figures(samples: Comparison, row: Row) -> tuple[list[float], list[float]]:
    found: Mapping[str, list[float]] = samples.get(row.key, {})
    stock, ours = found.get("stock", []), found.get("ours", [])
    if row.part_of is None:
        return stock, ours
    # Both by the audio that stock made: ours has pauses between sentences in it.
    audio = samples.get(row.part_of, {}).get("stock", [])
    return (
        [value / length for value, length in zip(stock, audio, strict=False)],
        [value / length for value, length in zip(ours, audio, strict=False)],
    )
