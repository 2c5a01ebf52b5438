"""The code that is installed now proves that it could take over from the daemon that runs.

    python -P -m supervisor.trial --records N --compiled PATH CONFIG

Starts as a daemon would, up to the point where it would touch anything: imports all that a daemon
imports, compiles the configuration and leaves that at PATH, reads the ledger, lets its log sink
try itself. Exit code 0 and the version, or 1 and the reason on standard error.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from supervisor import __version__

SINK_TIMEOUT = 20.0


class UnfitError(Exception):
    """This code must not take over, and this is why."""


def prove(config: str, records: int, compiled: str) -> None:
    """Raise whatever stands in the way."""
    import supervisor.cli.__main__
    import supervisor.daemon  # noqa: F401 - that they can be imported is what is tried
    from supervisor.compiled import leave
    from supervisor.config.loader import load
    from supervisor.ledger import NAME, read_records

    spec = load(config)
    readable = {record.unit for record in read_records(Path(spec.state_dir) / NAME)}
    if len(readable) < records:
        raise UnfitError(f"of {records} services in the ledger it can read {len(readable)}")
    sink = subprocess.run(
        [sys.executable, "-P", "-m", "supervisor.logs.sink", "--check", spec.state_dir],
        capture_output=True,
        text=True,
        timeout=SINK_TIMEOUT,
        check=False,
    )
    if sink.returncode != 0:
        said = (sink.stderr.strip() or sink.stdout.strip()).splitlines()[-1:]
        raise UnfitError(f"its log sink cannot start: {said[0] if said else sink.returncode}")
    # On a full disk it goes without: the new code compiles the configuration itself.
    leave(spec, compiled)


def main(arguments: list[str] | None = None) -> int:
    """Run the trial; return the exit code."""
    parser = argparse.ArgumentParser(prog="supervisor.trial", description=__doc__)
    parser.add_argument("--records", type=int, default=0)
    parser.add_argument("--compiled", required=True)
    parser.add_argument("config")
    asked = parser.parse_args(arguments)
    try:
        prove(asked.config, asked.records, asked.compiled)
    except Exception as error:  # noqa: BLE001 - whatever it is, it would have met the daemon
        first = str(error).splitlines()[:1]
        print(f"{type(error).__name__}: {first[0] if first else ''}", file=sys.stderr)
        return 1
    print(__version__)
    return 0


if __name__ == "__main__":
    sys.exit(main())
