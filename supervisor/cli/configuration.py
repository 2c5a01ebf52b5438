"""`validate`, `schema`, `version` and `run`: the YAML, and the daemon in the foreground."""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from supervisor import __version__
from supervisor.cli import wording
from supervisor.cli.connection import short_path
from supervisor.cli.exits import ExitStatus
from supervisor.cli.invocation import Invocation
from supervisor.config.discovery import config_path
from supervisor.config.loader import load
from supervisor.config.problems import ConfigError


def _file(call: Invocation) -> str:
    return config_path(call.file or call.config, os.getcwd(), os.environ)


def validate(call: Invocation) -> int:
    """Check the YAML and print every error."""
    file = _file(call)
    try:
        spec = load(file)
    except ConfigError as error:
        if not call.json:
            raise
        problems = [asdict(problem) for problem in error.problems]
        print(json.dumps({"ok": False, "problems": problems}, ensure_ascii=False, indent=2))
        return ExitStatus.USAGE
    names = [service.name for service in spec.services]
    if call.json:
        print(json.dumps({"ok": True, "services": names}, ensure_ascii=False, indent=2))
    else:
        off = sum(not service.enabled for service in spec.services)
        disabled = f" ({off} disabled)" if off else ""
        print(f"{short_path(file)}: ok, {wording.count(len(names), 'service')}{disabled}")
    return ExitStatus.AS_ASKED


def schema(_call: Invocation) -> int:
    """Print the JSON Schema of the YAML."""
    from supervisor.config import schema as json_schema

    print(json.dumps(json_schema(), ensure_ascii=False, indent=2))
    return ExitStatus.AS_ASKED


def version(_call: Invocation) -> int:
    """Print the version."""
    print(f"atlasctl {__version__} (Python {sys.version.split()[0]})")
    return ExitStatus.AS_ASKED


def run(call: Invocation) -> int:
    """Be the daemon until told to stop."""
    # Only here: the daemon must stay small, and the client fast, without each other's imports.
    from supervisor.daemon import run as supervise

    if not call.login:
        # After an upgrade it need not be readable any more.
        config = Path(_file(call))
        return supervise(config, take_down=call.take_down, compiled=call.compiled)
    from supervisor.cli.daemon_log import take_log

    try:
        system = call.system()
        take_log(system.state_dir)
        return supervise(Path(system.config), by_login_item=True)
    except ConfigError as error:
        # Anything but 0, and launchd would try again every 10 s until somebody mends the file.
        print(error, file=sys.stderr)
        return ExitStatus.AS_ASKED
