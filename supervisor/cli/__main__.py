"""`atlasctl`: one command, one exit code, and no traceback for what a person can mend."""

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import cast

from supervisor.cli.arguments import read
from supervisor.cli.exits import CommandError, ExitStatus, Interrupted
from supervisor.cli.invocation import Invocation
from supervisor.config.problems import ConfigError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` (default: the process's) names and return its exit code."""
    try:
        try:
            call = read(sys.argv[1:] if argv is None else argv, os.environ)
            code = _function(call.run)(call)
            sys.stdout.flush()
            return int(code)
        except SystemExit as leaving:  # argparse, after it has printed a help text
            sys.stdout.flush()
            return leaving.code if isinstance(leaving.code, int) else ExitStatus.AS_ASKED
        except CommandError as error:
            _say(f"{error.message}; {error.hint}" if error.hint else error.message)
            return error.status
        except ConfigError as error:
            print(error, file=sys.stderr)
            return ExitStatus.USAGE
        except Interrupted as error:
            _say(f"interrupted: {error}")
            return ExitStatus.INTERRUPTED
        except KeyboardInterrupt:
            _say("interrupted: the supervisor and its services go on as they are")
            return ExitStatus.INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout once more at exit, and would complain there.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
        return ExitStatus.BROKEN_PIPE


def _function(name: str) -> Callable[[Invocation], int]:
    module, _, function = name.partition(":")
    found = getattr(import_module(f"supervisor.cli.{module}"), function)
    return cast("Callable[[Invocation], int]", found)


def _say(message: str) -> None:
    # What was printed before belongs before it, also where both go to one file.
    sys.stdout.flush()
    print(f"atlasctl: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
