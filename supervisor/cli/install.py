"""`install` and `uninstall`: everything up after login, with no terminal.

A daemon that was started by hand is replaced by the login item's. It is killed for that, as it may
be at any time: its services go on, and the next daemon takes them over, same pid.
"""

import os
import time

from supervisor.cli import login_item, wording
from supervisor.cli.asking import interrupted_later
from supervisor.cli.checks.login import forsaken, out_of_reach, starters
from supervisor.cli.connection import System, check_same_file, short_path, speaking_to
from supervisor.cli.exits import CommandError, ExitStatus, Interrupted
from supervisor.cli.invocation import Invocation
from supervisor.cli.launch import launch, running, wait_until_gone
from supervisor.cli.terminal import warn
from supervisor.cli.upgrade import compare, disturbance
from supervisor.cli.waiting import View
from supervisor.config.codec import encode
from supervisor.config.loader import load
from supervisor.config.problems import ConfigError
from supervisor.control.messages import FleetStatus
from supervisor.core.spec import FleetSpec
from supervisor.install.item import LoginItem, UnwritableError, describe, guarded_folder
from supervisor.install.manager import Manager, ManagerError
from supervisor.install.place import PlaceError
from supervisor.posix import processes
from supervisor.posix.identity import identify

GONE_WITHIN = 10.0
"""Seconds for the end of a process that was killed."""
_ACCOUNT = ("HOME", "LOGNAME", "SHELL", "TMPDIR", "USER", "XDG_RUNTIME_DIR")
"""Variables that every program has after a login."""


def install(call: Invocation) -> int:
    """Write the login item, see that it is in force, and hand over to it."""
    system = call.system()
    spec = load(system.config)
    manager = login_item.manager_of(system)
    try:
        item = describe(spec, os.environ)
        text = manager.text(item)
        if call.dry_run:
            _show(manager, text, linger=call.linger)
            return ExitStatus.AS_ASKED
        before = manager.place.text_for(system.config)
        _check_login_environment(spec, item)
        if before != text:
            manager.place.write(text)
        manager.enable()
        word = "unchanged" if before == text else "written" if before is None else "replaced"
        print(f"{word}: {short_path(manager.place.path)}")
        _warn_of_place(spec)
        _warn_of_others(system, manager)
        if call.linger:
            _linger()
        if not call.start:
            print("nothing was started now; it starts at the next login")
            return ExitStatus.AS_ASKED
        return _hand_over(call, system, spec, manager, changed=before not in (None, text))
    except (PlaceError, ManagerError, UnwritableError) as error:
        raise CommandError(ExitStatus.NOT_REACHED, str(error)) from None


def _show(manager: Manager, text: str, *, linger: bool) -> None:
    print(f"{manager.place.path}:\n")
    for line in text.splitlines():
        print(f"    {line}" if line else "")
    commands = [*manager.commands(), *(["loginctl enable-linger"] if linger else [])]
    print("\nthen, in effect:\n")
    for command in commands:
        print(f"    {command}")


def _check_login_environment(spec: FleetSpec, item: LoginItem) -> None:
    """Say what of the configuration is otherwise after a login than in this shell.

    Raises CommandError where it is not valid there.
    """
    login = {name: os.environ[name] for name in _ACCOUNT if name in os.environ}
    login |= item.environment
    hint = (
        "what it takes from this shell belongs into files: ${NAME} into .env, what a service is to "
        "find in its environment into its env_file"
    )
    try:
        then = load(spec.source, login)
    except ConfigError as error:
        raise CommandError(
            ExitStatus.USAGE,
            f"in this shell the configuration is valid, after a login it is not:\n{error}",
            hint,
        ) from None
    services = {service.name: service for service in then.services}
    differ = [
        now.name
        for now in spec.services
        if encode(now) != encode(services.get(now.name))
        or any(name in os.environ and name not in login for name in now.inherit_env)
    ]
    if differ:
        warn(f"{wording.listing(differ)} would be otherwise after a login; {hint}")


def _warn_of_place(spec: FleetSpec) -> None:
    if login_item.PLATFORM != "darwin":
        return
    if folder := guarded_folder(spec.root, os.environ.get("HOME", "/")):
        warn(": ".join(out_of_reach(folder)))


def _warn_of_others(system: System, manager: Manager) -> None:
    """Say what else starts this system by itself, or one that was here before it was moved."""
    ask = login_item.runner(os.environ)
    for start in starters(login_item.PLATFORM, os.environ, ask).starts():
        if start.where != manager.place.path and start.starts(system.config):
            warn(f"{start.where} starts this system too, which one of them would do")
        elif gone := forsaken(start):
            warn(f"{start.where} starts {gone}, which is not there any more: atlasctl doctor")


def _linger() -> None:
    if login_item.PLATFORM == "darwin":
        raise ManagerError("on a Mac nothing of yours runs before you log in; leave --linger out")
    from supervisor.install.systemctl import linger

    linger(login_item.runner(os.environ))


def _hand_over(
    call: Invocation, system: System, spec: FleetSpec, manager: Manager, *, changed: bool
) -> int:
    view = View(call.paint, "install")
    with speaking_to(system):
        fleet = running(system)
        if fleet is not None:
            check_same_file(fleet["daemon"], spec.source)
            if fleet["daemon"]["stopping"]:
                raise CommandError(
                    ExitStatus.NOT_REACHED,
                    "the supervisor is stopping everything; the login item starts it again at the "
                    "next login",
                    "to start it now, once that is done: atlasctl up",
                )
            pid = fleet["daemon"]["pid"]
            if manager.daemon() == pid:
                later = "; what has changed holds from the next login on" if changed else ""
                print(f"the supervisor (pid {pid}) was started by it already{later}")
                _tell_of_linger()
                return ExitStatus.AS_ASKED
        if why := manager.obstacle():
            now = "to start it now: atlasctl up"
            if fleet is not None:
                now = f"the supervisor that runs (pid {fleet['daemon']['pid']}) goes on"
            raise CommandError(
                ExitStatus.NOT_REACHED,
                f"it is installed and cannot be started now: {why}",
                f"it starts at the next login; {now}",
            )
        if changed and (fleet is None or manager.daemon() is None):
            manager.cancel()  # what is loaded is as its file was before
        try:
            # Ctrl-C between the two would leave services without a supervisor.
            with interrupted_later():
                if fleet is not None:
                    _kill(fleet)
                after = launch(system, spec, view.say)
        except KeyboardInterrupt:
            raise Interrupted("it is installed; what runs: atlasctl status") from None
        finally:
            view.clear()
    return _told(manager, fleet, after)


def _kill(fleet: FleetStatus) -> None:
    """End a daemon, and nothing else; its services stay."""
    pid = fleet["daemon"]["pid"]
    daemon = identify(pid)
    if daemon is not None:
        processes.kill(daemon)
    if not wait_until_gone(daemon, time.monotonic() + GONE_WITHIN):
        raise CommandError(
            ExitStatus.NOT_REACHED, f"the supervisor (pid {pid}) does not end", "see: ps, top"
        )


def _told(manager: Manager, before: FleetStatus | None, after: FleetStatus) -> int:
    pid = after["daemon"]["pid"]
    if manager.daemon() != pid:
        # `launch` has said why; nothing is left without a supervisor for that.
        raise CommandError(
            ExitStatus.NOT_REACHED,
            f"the supervisor (pid {pid}) was not started by the login item, which takes hold at "
            "the next login",
            "see: atlasctl doctor",
        )
    if before is None:
        print(f"started: the supervisor is pid {pid}; how its services do: atlasctl status")
        _tell_of_linger()
        return ExitStatus.AS_ASKED
    compared = compare(before["services"], after["services"])
    undisturbed = wording.count(len(compared.undisturbed), "service")
    old = before["daemon"]["pid"]
    print(f"handed over: the supervisor is pid {pid}, was {old}; {undisturbed} undisturbed")
    for earlier, later in compared.disturbed:
        warn(disturbance(earlier, later))
    _tell_of_linger()
    return ExitStatus.NOT_REACHED if compared.disturbed else ExitStatus.AS_ASKED


def _tell_of_linger() -> None:
    if login_item.PLATFORM == "darwin":
        return
    from supervisor.install.systemctl import lingers

    if not lingers(os.getuid()):
        print(
            "it starts when you log in, and all ends when you log out; to start at boot and stay: "
            "atlasctl install --linger"
        )


def uninstall(call: Invocation) -> int:
    """Remove the login item; whatever runs goes on."""
    system = call.system()
    manager = login_item.manager_of(system)
    try:
        if manager.place.text_for(system.config) is None:
            print("there is no login item of this system, nothing changed")
            return ExitStatus.AS_ASKED
        if call.dry_run:
            print(f"it would remove {manager.place.path}; whatever runs goes on")
            return ExitStatus.AS_ASKED
        pid = manager.daemon()
        manager.remove()
    except (PlaceError, ManagerError) as error:
        raise CommandError(ExitStatus.NOT_REACHED, str(error)) from None
    print(f"removed: {short_path(manager.place.path)}")
    if pid is not None:
        print(f"the supervisor that it has started (pid {pid}) goes on until: atlasctl down")
    return ExitStatus.AS_ASKED
