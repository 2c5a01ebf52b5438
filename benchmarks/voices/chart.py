"""Draws a report of `benchmarks.tts`: `python -m benchmarks.voices.chart VOICES.json CHART.svg`."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Samples = Mapping[str, Mapping[str, Sequence[float]]]

ROWS: Final = (
    ("60 characters, until sound comes", "60/first"),
    ("300 characters, until sound comes", "300/first"),
    ("1000 characters, until sound comes", "1000/first"),
    ("300 characters, all of it", "300/whole"),
    ("1000 characters, all of it", "1000/whole"),
    ("8 clients at once, all served", "crowd/last"),
    ("from process start to the first word", "start"),
)
"""What is drawn, each with its name among the samples; a row that was not measured is left out."""

_WIDTH: Final = 760
_LABELS: Final = 270
_BAR: Final = 340
_ROW: Final = 46
_TOP: Final = 58
_COLORS: Final = {"stock": "#8b949e", "ours": "#3fb950"}


def main() -> None:
    """The command line."""
    source, target = map(Path, sys.argv[1:3])
    target.write_text(drawn(json.loads(source.read_text())["samples"]), encoding="utf-8")


def drawn(samples: Samples) -> str:
    """The SVG: for each row two bars, the longer of which has the full width."""
    rows = [(label, samples[name]) for label, name in ROWS if name in samples]
    height = _TOP + len(rows) * _ROW + 14
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}"'
        f' viewBox="0 0 {_WIDTH} {height}" role="img">',
        "<title>Seconds of stock ukrainian-tts and of ours for the same speech</title>",
        '<rect width="100%" height="100%" rx="8" fill="#0d1117"/>',
        '<g font-family="system-ui, sans-serif" font-size="13" fill="#e6edf3">',
        '<text x="16" y="26" font-size="15" font-weight="bold">Seconds, less is better</text>',
        f'<text x="{_LABELS}" y="26"><tspan fill="{_COLORS["stock"]}">■</tspan> stock'
        f'  <tspan fill="{_COLORS["ours"]}" dx="14">■</tspan> atlasctl</text>',
    ]
    for at, (label, pair) in enumerate(rows):
        lines += _row(label, pair, _TOP + at * _ROW)
    return "\n".join([*lines, "</g>", "</svg>", ""])


def _row(label: str, pair: Mapping[str, Sequence[float]], y: int) -> Iterator[str]:
    yield f'<text x="16" y="{y + 18}">{label}</text>'
    medians = {side: statistics.median(pair[side]) for side in _COLORS}
    longest = max(medians.values())
    for at, (side, seconds) in enumerate(medians.items()):
        width = max(2.0, _BAR * seconds / longest)
        top = y + 15 * at
        yield (
            f'<rect x="{_LABELS}" y="{top}" width="{width:.1f}" height="12" rx="2"'
            f' fill="{_COLORS[side]}"/>'
        )
        yield f'<text x="{_LABELS + width + 8:.1f}" y="{top + 11}">{seconds:.3g}</text>'
    yield (
        f'<text x="{_WIDTH - 16}" y="{y + 18}" text-anchor="end" font-weight="bold">'
        f"{medians['stock'] / medians['ours']:.1f} ×</text>"
    )


if __name__ == "__main__":
    main()
