"""The command line read, its `--help`, and the complaints about what was typed.

Nothing here does anything: `read` turns argv into an `Invocation`, whose `run` names the function
that `supervisor.cli.__main__` imports and calls. So a command pays only for its own imports.
"""

import argparse
import difflib
import re
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from supervisor.cli.commands import COMMANDS, Command
from supervisor.cli.exits import LEGEND, CommandError, ExitStatus
from supervisor.cli.invocation import Invocation
from supervisor.cli.terminal import paint_for


def read(argv: Sequence[str], environ: Mapping[str, str]) -> Invocation:
    """Return what the arguments ask for.

    Prints the help and raises SystemExit(0) where that was asked for; raises CommandError for what
    cannot be understood.
    """
    found = vars(_parser(argv).parse_args(argv))
    if found.get("run") is None:
        raise CommandError(ExitStatus.USAGE, "no command given", "see them all: atlasctl --help")
    for names in ("services", "models", "accept_changed", "targets", "images"):
        found[names] = tuple(dict.fromkeys(found.get(names, ())))
    found["words"] = tuple(found.get("words", ()))
    found["paint"] = paint_for(sys.stdout, found["color"], environ)
    return Invocation(**found)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Leaves the lines of the legend as they are, and fills a description, which is of one."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return super()._fill_text(text, width, indent)
        return argparse.HelpFormatter._fill_text(self, text, width, indent)


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
    parser.formatter_class = _Formatter
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
        formatter_class=_Formatter,
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
