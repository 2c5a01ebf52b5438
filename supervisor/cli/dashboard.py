"""`dashboard`: open the web page of the system, with the token that lets this browser in."""

import os
import sys
from html import escape
from typing import TYPE_CHECKING, Final

from supervisor.cli.connection import System, short_path
from supervisor.cli.exits import CommandError, ExitStatus
from supervisor.cli.invocation import Invocation
from supervisor.cli.terminal import warn
from supervisor.dashboard import presence, token_file
from supervisor.posix.state import write_whole

if TYPE_CHECKING:
    from supervisor.core.spec import ServiceSpec

DOOR: Final = "dashboard.html"
"""A page in the state folder that leads to the dashboard: the address has the token in it, and
what stands on the command line of a browser can be seen by every user of the machine."""
MODULE: Final = "supervisor.dashboard"


def dashboard(call: Invocation) -> int:
    """Open the dashboard in a browser, or print its address."""
    system = call.system()
    url = presence.find(system.state_dir)
    if url is None:
        raise _not_running(system)
    try:
        token = token_file.read(system.state_dir)
    except token_file.TokenError as error:
        raise CommandError(ExitStatus.NOT_REACHED, str(error)) from None
    address = f"{url}/#token={token}"
    if not call.print_address:
        if _open(_door(system.state_dir, address)):
            # A browser in a sandbox, as of snap, may not be let near our file, and does not say so.
            print(f"opened {url} in your browser; if it shows nothing: atlasctl dashboard --print")
            return ExitStatus.AS_ASKED
        place = url.removeprefix("http://")
        port = place.rpartition(":")[2]
        warn(
            "there is no browser here; open this address in one on this machine, or, elsewhere, "
            f"after: ssh -L {port}:{place} THIS-MACHINE"
        )
    # Whoever has it can start and stop services: it is for no log and no chat.
    print(address)
    return ExitStatus.AS_ASKED


def _door(state_dir: str, address: str) -> str:
    """Write the page that leads to the address, for this user alone, and return its path."""
    path = os.path.join(state_dir, DOOR)
    target = escape(address, quote=True)
    html = (
        '<!doctype html><meta charset="utf-8"><title>atlasctl</title>'
        f'<meta http-equiv="refresh" content="0;url={target}">'
        f'<p><a href="{target}">To the dashboard</a>\n'
    )
    try:
        write_whole(path, html.encode("utf-8"))
    except OSError as error:
        raise CommandError(
            ExitStatus.NOT_REACHED,
            f"cannot write {path}: {error.strerror}",
            "or take the address: atlasctl dashboard --print",
        ) from None
    return path


def _open(path: str) -> bool:
    """Show a file in the browser of whoever sits at this machine; False: there is none."""
    import webbrowser
    from urllib.request import pathname2url

    if sys.platform != "darwin" and not _has_screen():
        # Else one that draws in the terminal would be found, and those know no scripts.
        return False
    try:
        return webbrowser.open(f"file://{pathname2url(path)}")
    except webbrowser.Error:
        return False


def _has_screen() -> bool:
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))


def _not_running(system: System) -> CommandError:
    # Only here: whoever has a dashboard need not wait for the YAML to be compiled.
    from supervisor.cli.connection import fleet_status, speaking_to
    from supervisor.config.loader import load

    services = [service for service in load(system.config).services if _is_dashboard(service)]
    if not services:
        return CommandError(
            ExitStatus.USAGE,
            f"no service of {short_path(system.config)} is the dashboard",
            "add one: docs/dashboard.md has the lines",
        )
    name = services[0].name
    client = system.client()
    with speaking_to(system):
        states = {service["name"]: service for service in fleet_status(client)["services"]}
    if name not in states:
        hint = "the configuration has it and the supervisor does not yet: atlasctl reload"
        return CommandError(ExitStatus.NOT_REACHED, "the dashboard does not run", hint)
    service = states[name]
    if service["goal"] == "down":
        hint = f"start it: atlasctl start {name}"
    else:
        hint = f"see: atlasctl why {name}"
    said = f"the dashboard (service {name}) is {service['state']}: {service['reason']}"
    return CommandError(ExitStatus.NOT_REACHED, said, hint)


def _is_dashboard(service: "ServiceSpec") -> bool:
    return MODULE in service.command
