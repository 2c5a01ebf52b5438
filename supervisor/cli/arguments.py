"""The command line as typed values, its `--help`, and the complaints about what was typed.

Nothing here does anything: `read` turns argv into an `Invocation`, whose `run` names the function
that `supervisor.cli.__main__` imports and calls. So a command pays only for its own imports.
"""

import argparse
import difflib
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NoReturn, get_args

from supervisor.cli.exits import LEGEND, CommandError, ExitStatus
from supervisor.cli.terminal import PLAIN, ColorChoice, Paint, paint_for

if TYPE_CHECKING:
    from supervisor.cli.connection import System

UP_TIMEOUT = 120.0
DOWN_TIMEOUT = 60.0
"""Seconds that `up` and `down`, and their like, wait unless told otherwise."""

Shell = Literal["bash", "zsh", "fish"]
SHELLS: tuple[Shell, ...] = get_args(Shell)


@dataclass(frozen=True, slots=True)
class Invocation:
    """What was asked, in full. Options that a command does not have keep their default."""

    run: str
    """`module:function` in this package."""
    command: str
    config: str | None = None
    color: ColorChoice = "auto"
    paint: Paint = PLAIN
    services: tuple[str, ...] = ()
    json: bool = False
    watch: bool = False
    follow: bool = False
    timestamps: bool = False
    wait: bool = True
    timeout: float = UP_TIMEOUT
    lines: int | None = None
    all_lines: bool = False
    since: float | None = None
    """Unix seconds."""
    file: str | None = None
    shell: Shell = "bash"

    def system(self) -> "System":
        """Find the system that this is about. Raises ConfigError."""
        from supervisor.cli.connection import locate

        return locate(self.config, os.getcwd(), os.environ)


@dataclass(frozen=True, slots=True)
class Command:
    """One command: what it runs and what it says of itself."""

    name: str
    run: str
    help: str
    about: str
    options: tuple[Callable[[argparse.ArgumentParser], object], ...] = ()
    hidden: bool = False

    @property
    def takes_services(self) -> bool:
        """Tell whether its arguments are names of services."""
        return _services in self.options or _service in self.options

    @property
    def takes_file(self) -> bool:
        """Tell whether its argument is a file."""
        return _file in self.options

    @property
    def choices(self) -> tuple[str, ...]:
        """Return the words of which its argument is one; empty if it is something else."""
        return SHELLS if _shell in self.options else ()


def read(argv: Sequence[str], environ: Mapping[str, str]) -> Invocation:
    """Return what the arguments ask for.

    Prints the help and raises SystemExit(0) where that was asked for; raises CommandError for what
    cannot be understood.
    """
    found = vars(_parser(argv).parse_args(argv))
    if found.get("run") is None:
        raise CommandError(ExitStatus.USAGE, "no command given", "see them all: atlasctl --help")
    found["services"] = tuple(dict.fromkeys(found.get("services", ())))
    found["paint"] = paint_for(sys.stdout, found["color"], environ)
    return Invocation(**found)


# Options -------------------------------------------------------------------------------------


def _services(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("services", nargs="*", metavar="SERVICE", help="which ones; default: all")


def _service(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("services", nargs=1, metavar="SERVICE")


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for scripts")


def _waiting(default: float) -> Callable[[argparse.ArgumentParser], None]:
    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--timeout",
            type=_duration,
            default=default,
            metavar="TIME",
            help=f"how long to wait, like 90s or 5m (default {default:g}s)",
        )
        parser.add_argument(
            "--no-wait", dest="wait", action="store_false", help="ask, and return at once"
        )

    return add


def _timeout_only(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout",
        type=_duration,
        default=DOWN_TIMEOUT,
        metavar="TIME",
        help=f"how long to wait, like 90s or 5m (default {DOWN_TIMEOUT:g}s)",
    )


def _watch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--watch", action="store_true", help="show it again every second")


def _follow(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes")


def _lines(what: str) -> Callable[[argparse.ArgumentParser], None]:
    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "-n", "--lines", type=_count, metavar="N", help=f"at most the last N {what}"
        )

    return add


def _all_lines(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", dest="all_lines", action="store_true", help="all there is")


def _since(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--since",
        type=_moment,
        metavar="WHEN",
        help="only what is younger than 10m, or than 2026-01-31T12:00",
    )


def _timestamps(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-t", "--timestamps", action="store_true", help="show when each line was written"
    )


def _file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", metavar="FILE", help="default: the one that `up` uses")


def _shell(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS)


COMMANDS = (
    Command(
        "up",
        "lifecycle:up",
        "start everything and wait until it works",
        "Start the supervisor in the background, unless it runs, and with it every enabled "
        "service, or those named; wait until each is healthy, and say where it is.",
        (_waiting(UP_TIMEOUT), _services),
    ),
    Command(
        "down",
        "lifecycle:down",
        "stop everything, the supervisor too",
        "Stop every service, those that others need last, and then the supervisor.",
        (_timeout_only,),
    ),
    Command(
        "start",
        "lifecycle:start",
        "start services and what they need",
        "Start services, with all that they depend on, and wait until they work. A service that "
        "had given up tries again with a clean record.",
        (_waiting(UP_TIMEOUT), _services),
    ),
    Command(
        "stop",
        "lifecycle:stop",
        "stop services",
        "Stop services and wait until no process of theirs is left and their ports are free. "
        "They stay stopped until somebody starts them.",
        (_waiting(DOWN_TIMEOUT), _services),
    ),
    Command(
        "restart",
        "lifecycle:restart",
        "stop services and start them again",
        "Stop services, start them again, and wait until they work.",
        (_waiting(UP_TIMEOUT), _services),
    ),
    Command(
        "status",
        "status:status",
        "show the state of services",
        "Show each service and, for whatever is not healthy, why. Exit code 0 if every enabled "
        "service, or every one named, is healthy, running or completed; otherwise 1.",
        (_json, _watch, _services),
    ),
    Command(
        "logs",
        "logs:logs",
        "show what services have written",
        "Show the output of services, rotated files included. Works without a supervisor.",
        (
            _follow,
            _lines("lines of each service (default 100)"),
            _all_lines,
            _since,
            _timestamps,
            _services,
        ),
    ),
    Command(
        "why",
        "story:why",
        "tell why a service is in its state",
        "Tell what led to the present state of a service: what happened, and what was decided "
        "for which reason. Works without a supervisor.",
        (_json, _service),
    ),
    Command(
        "events",
        "story:events",
        "list what happened and was decided",
        "List the journal: what happened to services and what was decided. Works without a "
        "supervisor, except for -f.",
        (_follow, _json, _lines("entries (default 50)"), _services),
    ),
    Command(
        "validate",
        "configuration:validate",
        "check the configuration",
        "Check the YAML and print every error with its place.",
        (_json, _file),
    ),
    Command(
        "schema",
        "configuration:schema",
        "print the JSON Schema of the configuration",
        "Print the JSON Schema (2020-12) of the YAML, which an editor can use.",
    ),
    Command(
        "run",
        "configuration:run",
        "run the supervisor in the foreground",
        "Run the supervisor in the foreground until SIGTERM or Ctrl-C, for launchd, systemd or a "
        "terminal of its own. `up` does this in the background.",
    ),
    Command(
        "completion",
        "completion:completion",
        "print completions for a shell",
        'Print a script that completes commands, options and services: eval "$(atlasctl '
        'completion bash)"',
        (_shell,),
    ),
    Command("version", "configuration:version", "print the version", "Print the version."),
    Command("_services", "status:service_names", "", "", hidden=True),
)


# Parsing -------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """Raises instead of exiting, and suggests what may have been meant."""

    def error(self, message: str) -> NoReturn:
        """Raise CommandError with the message and a hint."""
        help_of = f"see: {self.prog} --help"
        wrong = re.match(r"argument COMMAND: invalid choice: '(.*?)' \(", message)
        if wrong is not None:
            names = [c.name for c in COMMANDS if not c.hidden]
            near = difflib.get_close_matches(wrong[1], names, n=1)
            hint = f"did you mean {near[0]}?" if near else help_of
            raise CommandError(ExitStatus.USAGE, f"there is no command {wrong[1]!r}", hint)
        unknown = re.match(r"unrecognized arguments: (--?[\w-]+)", message)
        if unknown is not None:
            options = [o for o in _all_options() if o.startswith("--")]
            near = difflib.get_close_matches(unknown[1], options, n=1)
            if near:
                help_of = f"did you mean {near[0]}? {help_of}"
        raise CommandError(ExitStatus.USAGE, message, help_of)


def _all_options() -> list[str]:
    """Return every option of every command, once."""
    return list(dict.fromkeys(o for command in COMMANDS for o in options_of(command)))


def options_of(command: Command) -> list[str]:
    """Return the options of one command, global ones included, in the order of its help."""
    parser = _Parser(prog=f"atlasctl {command.name}")
    _furnish(parser, command)
    return [text for action in parser._actions for text in action.option_strings]


def _furnish(parser: argparse.ArgumentParser, command: Command) -> None:
    parser.description = command.about
    parser.epilog = LEGEND
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.allow_abbrev = False
    # Suppressed, so that what stood before the command is not overwritten.
    _global_options(parser, default=argparse.SUPPRESS)
    for add in command.options:
        add(parser)
    parser.set_defaults(run=command.run)


def _global_options(parser: argparse.ArgumentParser, default: str | None) -> None:
    parser.add_argument(
        "-c",
        "--config",
        default=default,
        metavar="FILE",
        help="the YAML of the system; default: $ATLAS_CONFIG, or config/services.yaml or "
        "services.yaml here or in a folder above",
    )
    parser.add_argument(
        "--color",
        default=default if default is not None else "auto",
        choices=("auto", "always", "never"),
        help="default auto: on a terminal, unless NO_COLOR is set",
    )


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="atlasctl",
        description="Keeps local AI services up, and proves that they work.",
        epilog=LEGEND,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _global_options(parser, default=None)
    parser.set_defaults(run=None)
    group = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for command in COMMANDS:
        # Without a help text a command is not listed.
        sub = (
            group.add_parser(command.name)
            if command.hidden
            else group.add_parser(command.name, help=command.help)
        )
        # Fifteen full parsers would cost `status` a tenth of its time.
        if command.name in argv:
            _furnish(sub, command)
    return parser


# Values --------------------------------------------------------------------------------------


def _duration(text: str) -> float:
    from supervisor.config.quantities import SpellingError, parse_duration

    try:
        return parse_duration(text)
    except SpellingError as error:
        raise argparse.ArgumentTypeError(f"{error.message}; {error.hint}") from None


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of lines, like 100")
    return int(text)


def _moment(text: str) -> float:
    import time
    from datetime import datetime

    if re.match(r"[0-9]{4}-", text):
        try:
            # Without an offset it is local time, which is what people write and logs show.
            return datetime.fromisoformat(text).timestamp()
        except (ValueError, OverflowError, OSError):
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a time like 2026-01-31T12:00 or 2026-01-31"
            ) from None
    return time.time() - _duration(text)
