"""The user unit of systemd (systemd.service(5), systemd.syntax(7)). Pure."""

import re
from typing import Final

from supervisor.export.unit_text import argument, word
from supervisor.install.item import LoginItem, UnwritableError
from supervisor.install.names import mark

TARGET: Final = "default.target"
"""What a user's systemd reaches at login, or at boot where the user lingers."""
SUBGROUPS: Final = 254
"""The first release with DelegateSubgroup=."""

_FORBIDDEN: Final = re.compile("[\\\\\"']")

_UNIT: Final = """\
# {mark}
[Unit]
Description=atlasctl, {config}
# However often it is killed, it comes back.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
{environment}
# Killed, it comes back and takes its services over. It does not where it has ended with code 0:
# after `atlasctl down`, and (then before it was ready) where no other attempt would go better.
Restart=on-failure
RestartSec=1
RestartPreventExitStatus=0
TimeoutStartSec=60
TimeoutStopSec={stop_seconds}
# The supervisor gives a sign of life twice as often.
WatchdogSec=60
# Anything else kills every service with a supervisor that dies.
KillMode=process
# A service that runs out of memory is replaced by the supervisor, not the supervisor with it.
OOMPolicy=continue
# It makes a control group for each run.
{delegate}

[Install]
WantedBy={target}
"""


def render(item: LoginItem, version: int) -> str:
    """Return the unit, as a systemd of this release understands it. Raises UnwritableError."""
    program, *arguments = item.command
    if _FORBIDDEN.search(program):
        raise UnwritableError(
            f"systemd starts no program with a quote or a backslash in its path: move {program}"
        )
    delegate = ["Delegate=yes"]
    if version >= SUBGROUPS:
        delegate.append("DelegateSubgroup=supervisor")
    variables = (f"{name}={value}" for name, value in item.environment.items())
    return _UNIT.format(
        mark=mark(item.config),
        config=_literal(item.config),
        # Only in arguments is `$` more than itself.
        command=" ".join([word(program), *map(argument, arguments)]),
        environment="\n".join(f"Environment={word(each)}" for each in variables),
        stop_seconds=item.stop_seconds,
        delegate="\n".join(delegate),
        target=TARGET,
    )


def _literal(text: str) -> str:
    """Return text in which nothing is a specifier, for a line that is one word as a whole."""
    return text.replace("%", "%%")
