"""Remedies as they are read become rules of the core; what does not fit the service is found."""

from collections.abc import Sequence
from itertools import pairwise

from supervisor.config import remedy_model as model
from supervisor.config.document import Path
from supervisor.config.findings import Finding
from supervisor.config.root import Folders
from supervisor.core import spec
from supervisor.core.remedy import is_value


def remedies_of(
    read: Sequence[model.Remedy],
    service: spec.ServiceSpec,
    folders: Folders,
    findings: list[Finding],
) -> tuple[spec.Remedy, ...]:
    """Return the rules of a service; what does not fit it is added to `findings`."""
    path: Path = ("services", service.name, "remedies")
    rules: list[spec.Remedy] = []
    for index, each in enumerate(read):
        name = each.name or f"remedy {index + 1}"
        if any(rule.name == name for rule in rules):
            message = f"another remedy is called {name!r} already"
            findings.append(Finding((*path, index, "name"), message, "give it a name of its own"))
        findings += _misfits(each, service, (*path, index))
        rules.append(
            spec.Remedy(
                name=name,
                when=_trigger(each.when),
                set_env=dict(each.do.set_env),
                set_args=dict(each.do.set_args),
                run=_command(each.do.run),
                wait_for=_wait(each.do.wait_for, folders),
                restart=each.do.restart,
                give_up=each.do.give_up,
                limit=spec.RemedyLimit(each.limit.times, each.limit.within),
                dry_run=each.dry_run,
            )
        )
    return tuple(rules)


def _misfits(read: model.Remedy, service: spec.ServiceSpec, path: Path) -> list[Finding]:
    found = []
    probe = read.when.probe
    if probe is not None and service.probe(probe) is None:
        there = [kind.value for kind in spec.ProbeKind if service.probe(kind) is not None]
        hint = f"it has: {', '.join(there)}" if there else "give it one under probes:"
        message = f"{service.name} has no {probe} probe"
        found.append(Finding((*path, "when", "probe"), message, hint))
    wait = read.do.wait_for
    held = {port for socket in service.sockets for _, port in socket.addresses}
    if wait is not None and wait.port_free in held:
        message = f"port {wait.port_free} is held by the supervisor itself, and never free"
        hint = "wait for something else; a socket in sockets: cannot be taken by others"
        found.append(Finding((*path, "do", "wait_for", "port_free"), message, hint))
    for flag, value in read.do.set_args.items():
        after = _word_after(service.command, flag)
        if isinstance(value, bool) and after is not None:
            # Whether the word is the flag's value cannot be known, and would stay behind.
            message = f"{flag} is followed by {after} in the command, which may be its value"
            hint = f"write {flag}={after} there if it is, or give {flag} another value here"
            found.append(Finding((*path, "do", "set_args", flag), message, hint))
    return found


def _word_after(command: Sequence[str], flag: str) -> str | None:
    for word, after in pairwise(command[1:]):
        if word == flag and is_value(after):
            return after
    return None


def _trigger(read: model.When) -> spec.Trigger:
    if read.output is not None:
        return spec.OutputTrigger(read.output)
    if read.probe is not None:
        return spec.ProbeTrigger(read.probe, read.failed, read.says)
    ways = dict.fromkeys(read.exit or ())
    return spec.ExitTrigger(
        codes=tuple(number for way, number in ways if way == "code"),
        signals=tuple(number for way, number in ways if way == "signal"),
    )


def _command(read: model.Run | None) -> spec.RemedyCommand | None:
    return None if read is None else spec.RemedyCommand(tuple(read.command), read.timeout)


def _wait(read: model.WaitFor | None, folders: Folders) -> spec.WaitFor | None:
    if read is None:
        return None
    condition: spec.PortFree | spec.FileExists | spec.Succeeds
    if read.port_free is not None:
        condition = spec.PortFree(read.port_free)
    elif read.file is not None:
        condition = spec.FileExists(folders.absolute(read.file))
    else:
        condition = spec.Succeeds(tuple(read.command or ()))
    return spec.WaitFor(condition, read.timeout)
