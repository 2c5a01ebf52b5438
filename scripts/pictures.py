"""Draws the pictures of the README: real sessions of atlasctl, run in a folder of their own.

    .venv/bin/python scripts/pictures.py

Writes docs/pictures/*.svg. It needs what `make up` needs, bash and curl, takes some ten seconds,
and ends all that it has started. Every line under a prompt is what the command printed.
"""

import html
import os
import re
import select
import socket
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).resolve().parent.parent
PICTURES: Final = CHECKOUT / "docs" / "pictures"
TIMEOUT: Final = 120.0
"""Seconds that one command may take."""
USUAL_PORT: Final = 3001

END: Final = "<end of command>"

COLUMNS: Final = 108
CELL: Final = 8.0
"""Width of one character in pixels; every run of text is fitted to it whatever the font is."""
LINE: Final = 19.0
SIZE: Final = 13.5
MARGIN: Final = 18.0
FONT: Final = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
GROUND, TEXT, PROMPT = "#0d1117", "#d1d7e0", "#79c0ff"
COLORS: Final = {
    "31": "#ff7b72",
    "32": "#56d364",
    "33": "#e3b341",
    "34": "#79c0ff",
    "35": "#d2a8ff",
    "36": "#76e3ea",
}
_SGR: Final = re.compile(r"\x1b\[([0-9;]*)m")

SYSTEM: Final = """\
version: 1
services:
  tts:
    command: [python, -P, -m, services.tts, --engine, espeak]
    venv: {checkout}/.venv
    sockets: {{http: "localhost:{port}"}}
    probes:
      startup:
        http:
          method: POST
          path: /tts
          body: {{text: тест, return_audio: true}}
          content_type: audio/wav
          wav: {{min_seconds: 0.2}}
        every: 100ms
        timeout: 30s
        for: 60s
      readiness: {{http: {{path: /health, json: {{tts_ready: true}}}}, every: 2s}}
"""

BROKEN: Final = """\
  embed:
    command: [cat, models/embed.bin]
    probes: {{readiness: {{tcp: {{port: 7001}}}}}}
    restart: {{backoff: {{first: 50ms}}, give_up: {{after: 3, within: 60s}}}}
  search:
    command: [sleep, "86400"]
    depends_on: [embed]
"""

PRELUDE: Final = 'atlasctl() { command atlasctl --color always "$@"; }\n'
"""Colours although nobody looks at a terminal; all else is run as it is shown."""

STATUS: Final = ("atlasctl status", "atlasctl why embed")

CODES: Final = "sort codes | uniq -c"
ASK: Final = (
    "until [ -e enough ]; do "
    "curl -so /dev/null -w '%{{http_code}}\\n' localhost:{port}/health; done > codes &"
)
CHANGE: Final = (
    "# somebody asks all the time",
    ASK,
    "# the new run beside the old one, which ends when the new one has spoken",
    "atlasctl restart --rolling tts",
    "# an edited configuration: what would it change? then do it",
    "sed -i.bak 's/every: 2s/every: 1s/' services.yaml",
    "atlasctl plan",
    "atlasctl reload | tail -1",
    "# new code for the supervisor itself",
    "atlasctl upgrade",
    "# and if it dies: the service goes on, the next supervisor takes it over",
    "kill -9 $(cut -d' ' -f1 .atlas/lock)",
    "atlasctl status",
    "atlasctl up",
    "# what did those who asked get?",
    f"touch enough; wait; {CODES}",
)


@dataclass(frozen=True, slots=True)
class Piece:
    """Text in one style."""

    text: str
    color: str = TEXT
    bold: bool = False
    dim: bool = False


Row = list[Piece]


class Shell:
    """One bash that runs commands in turn, in a folder with a system of its own."""

    def __init__(self, folder: Path) -> None:
        environment = {name: v for name, v in os.environ.items() if not name.startswith("ATLAS_")}
        environment["PATH"] = f"{CHECKOUT}:{environment['PATH']}"
        environment.pop("NO_COLOR", None)
        self._bash = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],  # noqa: S607 - whichever is on PATH
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
        )
        self.run(PRELUDE)

    def run(self, command: str) -> list[str]:
        """Return what the command prints, its errors included. Raises TimeoutError."""
        assert self._bash.stdin is not None  # noqa: S101
        assert self._bash.stdout is not None  # noqa: S101
        self._bash.stdin.write(f"{command}\necho '{END}'\n".encode())
        deadline = time.monotonic() + TIMEOUT
        said = b""
        while not said.endswith(f"{END}\n".encode()):
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._bash.stdout], [], [], left)[0]:
                raise TimeoutError(f"not done after {TIMEOUT:g} s: {command}")
            part = self._bash.stdout.read(65536)
            if not part:
                raise RuntimeError(f"the shell has ended in: {command}")
            said += part
        return said.decode().splitlines()[:-1]

    def close(self) -> None:
        """End the system and the shell."""
        try:
            self.run("touch enough; atlasctl down; wait")
        finally:
            self._bash.communicate(b"exit\n", timeout=TIMEOUT)


def main() -> int:
    """Draw all pictures."""
    port = free_port()
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="atlas-pictures-") as top:
        for name, title, yaml, prepare, commands in (
            (
                "status",
                "What atlasctl status and why say",
                SYSTEM + BROKEN,
                "atlasctl up; sleep 3",
                STATUS,
            ),
            ("change", "Nobody who asks notices a change", SYSTEM, "atlasctl up", CHANGE),
        ):
            folder = Path(top, name)
            folder.mkdir()
            (folder / "services.yaml").write_text(yaml.format(checkout=CHECKOUT, port=port))
            rows = session(folder, prepare, [each.format(port=port) for each in commands])
            target = PICTURES / f"{name}.svg"
            target.write_text(drawn(rows, title), encoding="utf-8")
            print(f"{target.relative_to(CHECKOUT)}: {len(rows)} lines")
    return 0


def free_port() -> int:
    """Return the port that the README speaks of, or another if that is taken."""
    for port in (USUAL_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no port is free")


def session(folder: Path, prepare: str, commands: Sequence[str]) -> list[Row]:
    """Return the rows of a terminal in which these commands were run."""
    shell = Shell(folder)
    rows: list[Row] = []
    try:
        shell.run(prepare)
        for command in commands:
            if command.startswith("#"):
                rows += [[], [Piece(command, dim=True)]] if rows else [[Piece(command, dim=True)]]
                continue
            if rows and not command_before_is_a_comment(rows):
                rows.append([])
            rows += wrapped([Piece("$ ", PROMPT, bold=True), Piece(command, bold=True)])
            for line in shell.run(command):
                shown = line.replace(f"{folder}/", "").replace(str(folder), ".")
                rows += wrapped(list(styled(shown)))
    finally:
        shell.close()
    return rows


def command_before_is_a_comment(rows: Sequence[Row]) -> bool:
    """Tell whether the last row is a remark, which no empty row parts from its command."""
    return bool(rows[-1]) and rows[-1][0].text.startswith("#")


def styled(line: str) -> Iterator[Piece]:
    """Split a line at its SGR sequences."""
    piece = Piece("")
    for at, part in enumerate(_SGR.split(line)):
        if at % 2:
            for code in part.split(";"):
                if code in ("", "0"):
                    piece = Piece("")
                else:
                    piece = Piece(
                        "",
                        COLORS.get(code, piece.color),
                        piece.bold or code == "1",
                        piece.dim or code == "2",
                    )
        elif part:
            yield Piece(part, piece.color, piece.bold, piece.dim)


def wrapped(row: Row) -> Iterator[Row]:
    """Break a row at the last space before `COLUMNS`."""
    left = list(row)
    while sum(len(piece.text) for piece in left) > COLUMNS:
        text = "".join(piece.text for piece in left)
        at = text.rfind(" ", 0, COLUMNS + 1)
        at = COLUMNS if at <= 0 else at
        yield cut(left, 0, at)
        left = cut(left, at + (text[at] == " "), len(text))
    yield left


def cut(row: Row, first: int, last: int) -> Row:
    """Return the part of a row between two columns."""
    found: Row = []
    for piece in row:
        text = piece.text[max(0, first) : max(0, last)]
        if text:
            found.append(replace(piece, text=text))
        first -= len(piece.text)
        last -= len(piece.text)
    return found


def drawn(rows: Sequence[Row], title: str) -> str:
    """Return the rows as an SVG."""
    width = 2 * MARGIN + COLUMNS * CELL
    height = 2 * MARGIN + len(rows) * LINE
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}"'
        f' viewBox="0 0 {width:g} {height:g}" role="img">',
        f"<title>{html.escape(title)}</title>",
        f'<rect width="100%" height="100%" rx="8" fill="{GROUND}"/>',
        f'<g font-family="{FONT}" font-size="{SIZE:g}" fill="{TEXT}" xml:space="preserve">',
    ]
    for at, row in enumerate(rows):
        column = 0
        for piece in row:
            lines += _words(piece, column, MARGIN + (at + 0.75) * LINE)
            column += len(piece.text)
    return "\n".join([*lines, "</g>", "</svg>", ""])


def _words(piece: Piece, column: int, y: float) -> Iterator[str]:
    """Yield one element for each part without gaps, so that no font can move a column."""
    style = "".join(
        (
            "" if piece.color == TEXT else f' fill="{piece.color}"',
            ' font-weight="bold"' if piece.bold else "",
            ' opacity="0.65"' if piece.dim else "",
        )
    )
    for found in re.finditer(r"\S+(?: \S+)*", piece.text):
        text = found.group()
        assert all(unicodedata.east_asian_width(c) not in "WF" for c in text)  # noqa: S101
        x = MARGIN + (column + found.start()) * CELL
        yield (
            f'<text x="{x:g}" y="{y:g}" textLength="{len(text) * CELL:g}"{style}>'
            f"{html.escape(text, quote=False)}</text>"
        )


if __name__ == "__main__":
    sys.exit(main())
