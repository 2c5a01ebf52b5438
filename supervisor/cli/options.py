"""The options and arguments that commands have, and how each value is read."""

import argparse
import re
from collections.abc import Callable

from supervisor.cli.invocation import ARCHIVES_KEPT, EXPORT_FORMATS, MODEL_ACTIONS, SHELLS

Option = Callable[[argparse.ArgumentParser], object]
"""Adds itself to the parser of a command."""


def services(parser: argparse.ArgumentParser) -> None:
    """Take any number of names."""
    parser.add_argument("services", nargs="*", metavar="SERVICE", help="which ones; default: all")


def service(parser: argparse.ArgumentParser) -> None:
    """Take one name, or none."""
    parser.add_argument(
        "services",
        nargs="?",
        type=lambda name: (name,),
        default=(),
        metavar="SERVICE",
        help="which one; default: whichever is not well",
    )


def json(parser: argparse.ArgumentParser) -> None:
    """Take `--json`."""
    parser.add_argument("--json", action="store_true", help="for scripts")


def timeout(default: float) -> Option:
    """Take `--timeout`; `default` in seconds."""

    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--timeout",
            type=_duration,
            default=default,
            metavar="TIME",
            help=f"how long to wait, like 90s or 5m (default {default:g}s)",
        )

    return add


def no_wait(parser: argparse.ArgumentParser) -> None:
    """Take `--no-wait`."""
    parser.add_argument(
        "--no-wait", dest="wait", action="store_false", help="ask, and return at once"
    )


def rolling(parser: argparse.ArgumentParser) -> None:
    """Take `--rolling`."""
    parser.add_argument(
        "--rolling",
        action="store_true",
        help="start each new run beside the old one, which ends when the new one is ready; that "
        "goes on after --timeout",
    )


def details(parser: argparse.ArgumentParser) -> None:
    """Take `--details`."""
    parser.add_argument(
        "--details", action="store_true", help="show what each finding rests on, as --json does"
    )


def dry_run(parser: argparse.ArgumentParser) -> None:
    """Take `--dry-run`."""
    parser.add_argument(
        "--dry-run", dest="dry_run", action="store_true", help="show what it would do, do nothing"
    )


def forget(parser: argparse.ArgumentParser) -> None:
    """Take `--forget`."""
    parser.add_argument(
        "--forget",
        action="store_true",
        help="let what they have set hold no more from the next start on; limits begin anew",
    )


def take_down(parser: argparse.ArgumentParser) -> None:
    """Take `--take-down`."""
    parser.add_argument(
        "--take-down",
        dest="take_down",
        action="store_true",
        help="end what a killed supervisor has left, and nothing else",
    )


def compiled(parser: argparse.ArgumentParser) -> None:
    """Take `--compiled`, by which `up` hands over what it has compiled already."""
    parser.add_argument(
        "--compiled",
        default="",
        metavar="FILE",
        help="what `up` has compiled of the configuration just now; removed once it is read",
    )


def login(parser: argparse.ArgumentParser) -> None:
    """Take `--login`, with which a login item runs us."""
    parser.add_argument(
        "--login",
        action="store_true",
        help="end with code 0 also where to try again would not help: another supervisor runs, or "
        "the configuration is wrong",
    )


def no_start(parser: argparse.ArgumentParser) -> None:
    """Take `--no-start`."""
    parser.add_argument(
        "--no-start",
        dest="start",
        action="store_false",
        help="leave what runs as it is; it takes hold at the next login",
    )


def linger(parser: argparse.ArgumentParser) -> None:
    """Take `--linger`."""
    parser.add_argument(
        "--linger",
        action="store_true",
        help="on Linux, start at boot, and go on when you log out: what is yours may run then "
        "without you (loginctl enable-linger)",
    )


def watch(parser: argparse.ArgumentParser) -> None:
    """Take `--watch`."""
    parser.add_argument("--watch", action="store_true", help="show it again every second")


def follow(parser: argparse.ArgumentParser) -> None:
    """Take `-f`."""
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes")


def lines(what: str) -> Option:
    """Take `-n`; `what` says what is counted."""

    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "-n", "--lines", type=_count, metavar="N", help=f"at most the last N {what}"
        )

    return add


def all_lines(parser: argparse.ArgumentParser) -> None:
    """Take `--all`."""
    parser.add_argument("--all", dest="all_lines", action="store_true", help="all there is")


def keep(parser: argparse.ArgumentParser) -> None:
    """Take `--keep`."""
    parser.add_argument(
        "--keep",
        type=_count,
        default=ARCHIVES_KEPT,
        metavar="N",
        help=f"archives that stay, the new one among them (default {ARCHIVES_KEPT})",
    )


def rehearse(parser: argparse.ArgumentParser) -> None:
    """Take `--dry-run`, of remedies."""
    parser.add_argument(
        "--dry-run",
        dest="dry_run",
        action="store_true",
        help="show what would have been done of late, by logs and journal",
    )


def strangers(parser: argparse.ArgumentParser) -> None:
    """Take `--all`, for files that no service writes."""
    parser.add_argument(
        "--all",
        dest="strangers",
        action="store_true",
        help="also what no service of the configuration writes, unless it is in use",
    )


def since(parser: argparse.ArgumentParser) -> None:
    """Take `--since`."""
    parser.add_argument(
        "--since",
        type=_moment,
        metavar="WHEN",
        help="only what is younger than 10m, or than 2026-01-31T12:00",
    )


def timestamps(parser: argparse.ArgumentParser) -> None:
    """Take `-t`."""
    parser.add_argument(
        "-t", "--timestamps", action="store_true", help="show when each line was written"
    )


def file(parser: argparse.ArgumentParser) -> None:
    """Take one file, or none."""
    parser.add_argument("file", nargs="?", metavar="FILE", help="default: the one that `up` uses")


def shell(parser: argparse.ArgumentParser) -> None:
    """Take the name of a shell."""
    parser.add_argument("shell", choices=SHELLS)


def exported(parser: argparse.ArgumentParser) -> None:
    """Take a format, names of services, and what the formats want to know."""
    parser.add_argument("format", choices=EXPORT_FORMATS, help="for whom")
    services(parser)
    parser.add_argument(
        "-o",
        "--output",
        default="-",
        metavar="DIR",
        help="write files into this folder; default: print them",
    )
    parser.add_argument(
        "--with-secrets",
        dest="with_secrets",
        action="store_true",
        help="write down secrets, where otherwise REPLACE_ME stands; such files are mode 0600",
    )
    cluster = parser.add_argument_group("kubernetes")
    cluster.add_argument(
        "--image",
        dest="images",
        action="append",
        default=[],
        metavar="[SERVICE=]NAME",
        help="image of the services, or of one; default: atlas-SERVICE:latest",
    )
    cluster.add_argument("--namespace", metavar="NAME", help="default: the one of kubectl")
    cluster.add_argument(
        "--replicas",
        metavar="MIN[:MAX]",
        help="copies of each service that has sockets:; default 1:3, by how busy they are",
    )
    cluster.add_argument(
        "--cpu", metavar="CORES", help="of which each copy is sure, like 2 or 500m (the default)"
    )
    cluster.add_argument(
        "--models",
        dest="volume",
        metavar="CLAIM",
        help="volume claim, or folder on the nodes, with what is in the folder models here",
    )


def models(parser: argparse.ArgumentParser) -> None:
    """Take what to do with models, and any number of their names."""
    parser.add_argument("action", choices=MODEL_ACTIONS, help="see above")
    parser.add_argument("models", nargs="*", metavar="NAME", help="which ones; default: all")


def accept_changed(parser: argparse.ArgumentParser) -> None:
    """Take `--accept-changed`."""
    parser.add_argument(
        "--accept-changed",
        dest="accept_changed",
        action="append",
        default=[],
        metavar="NAME",
        help="with fetch: forget what was recorded of this model, fetch and record it anew",
    )


def test(parser: argparse.ArgumentParser) -> None:
    """Take `--test`."""
    parser.add_argument(
        "--test",
        action="store_true",
        help="send a test, and say what came back; exit code 1 if one could not be told",
    )


def print_address(parser: argparse.ArgumentParser) -> None:
    """Take `--print`."""
    parser.add_argument(
        "--print", dest="print_address", action="store_true", help="print the address"
    )


def targets(parser: argparse.ArgumentParser) -> None:
    """Take any number of names of who is told."""
    parser.add_argument("targets", nargs="*", metavar="NAME", help="which ones; default: all")


def speech(parser: argparse.ArgumentParser) -> None:
    """Take a text, how it is to be spoken, by whom, and where to."""
    parser.add_argument(
        "words", nargs="*", metavar="TEXT", help="what to say; default, or -: standard input"
    )
    parser.add_argument(
        "-o",
        "--output",
        dest="sound_file",
        metavar="FILE",
        help="write it as WAV, whole or not at all, instead of playing it; - is standard output",
    )
    parser.add_argument("--voice", metavar="NAME", help="the service tells which ones it has")
    parser.add_argument(
        "--speed", type=_number, metavar="N", help="0.25 to 4, where 1 is the usual one"
    )
    parser.add_argument("--fx", metavar="EFFECT", help="like robot")
    parser.add_argument(
        "--service",
        dest="speaker",
        default="tts",
        metavar="SERVICE",
        help="which one speaks (default tts)",
    )


# Values --------------------------------------------------------------------------------------


def _duration(text: str) -> float:
    from supervisor.config.quantities import SpellingError, parse_duration

    try:
        return parse_duration(text)
    except SpellingError as error:
        raise argparse.ArgumentTypeError(f"{error.message}; {error.hint}") from None


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number, like 100")
    return int(text)


def _number(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}([.,][0-9]{1,9})?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number, like 1.2")
    return float(text.replace(",", "."))


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
