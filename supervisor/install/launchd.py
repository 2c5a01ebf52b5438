"""The property list of a launch agent (launchd.plist(5)). Pure."""

from supervisor.install.item import LoginItem
from supervisor.install.names import label, mark


def render(item: LoginItem) -> str:
    """Return the property list."""
    import plistlib

    told: dict[str, object] = {
        "Label": label(item.name),
        "ProgramArguments": list(item.command),
        "EnvironmentVariables": dict(item.environment),
        "RunAtLoad": True,
        # After a crash it comes back and takes its services over; after `atlasctl down`, which
        # ends it with code 0, it stays down until somebody starts it or logs in.
        "KeepAlive": {"SuccessfulExit": False},
        # Anything less, and macOS gives all that it starts less processor and disk.
        "ProcessType": "Interactive",
        # Otherwise launchd kills, with a supervisor that dies, what is left of its group.
        "AbandonProcessGroup": True,
        "ExitTimeOut": item.stop_seconds,
        "StandardOutPath": item.log,
        "StandardErrorPath": item.log,
    }
    text = plistlib.dumps(told, sort_keys=False).decode("utf-8")
    head, plist, body = text.partition("<plist")
    return f"{head}<!-- {mark(item.config)} -->\n{plist}{body}"
