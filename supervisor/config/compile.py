"""YAML to `FleetSpec`, or every error at once; also a short-lived program that prints the result.

pydantic and PyYAML cost a process 15 MB that the daemon does not have, and hostile YAML can cost
any amount: so `loader.load` runs this module as a child, with limits on its processor
time and memory, and reads one JSON object from it: `{"spec": …}` or `{"problems": […]}`.

Order: bytes, tree, words of commands, variables, defaults, shapes, targets, relations. A step that
finds errors does not stop the next one, except where nothing is left to go on with.
"""

import argparse
import contextlib
import json
import os
import resource
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from supervisor.config import codec
from supervisor.config.commands import split_commands
from supervisor.config.complaints import complaint
from supervisor.config.consistency import inconsistencies, unknown_services
from supervisor.config.document import (
    MAX_BYTES,
    Entry,
    Kind,
    Node,
    Path,
    Scalar,
    Table,
    locate,
    parse,
)
from supervisor.config.document import Sequence as ListNode
from supervisor.config.dotenv import read_env_file
from supervisor.config.files import read_regular
from supervisor.config.interpolation import expand_tree
from supervisor.config.model import PORT, Fleet, Service
from supervisor.config.problems import ConfigError, Problem, format_path
from supervisor.config.root import Folders, read_root
from supervisor.config.translation import Finding, fleet_spec, service_spec
from supervisor.core.spec import FleetSpec

CPU_SECONDS = 20
MEMORY_BYTES = 1024**3
MAX_ENVIRONMENT = 8 * 1024 * 1024
MAX_PROBLEMS = 10_000

_LITERAL_KEYS = ("version", "root")
"""`root` decides where .env and the control socket are, so it is needed before any variable."""


def compile_file(path: str, environ: Mapping[str, str]) -> FleetSpec:
    """Return what this file asks for. Raises ConfigError with every problem found."""
    path = os.path.abspath(path)
    return compile_bytes(_read(path), path, environ)


def compile_bytes(data: bytes, path: str, environ: Mapping[str, str]) -> FleetSpec:
    """Return what this text asks for, as if it stood in the file at this absolute path."""
    tree, problems = parse(data, path)
    folders = _folders(tree, data, path, environ, problems)
    variables = _variables(tree, folders, path, environ, problems)
    tree = _expanded(split_commands(tree, path, problems), variables, path, problems)
    merged = _with_defaults(tree)
    read, services, errors = _validate(merged)
    if any(error["loc"][:1] == ("defaults",) for error in errors):
        # Told once where they stand, and not again for every service they are merged into.
        merged = tree
        read, services, errors = _validate(tree)
    problems += [complaint(error, merged, path) for error in errors]
    findings: list[Finding] = []
    specs = tuple(
        service_spec(name, service, folders, findings) for name, service in services.items()
    )
    found = merged.entries.get("services")
    names = list(found.value.entries) if found and isinstance(found.value, Table) else []
    findings += inconsistencies(specs, names, _protected_ports(merged))
    fleet = fleet_spec(read, specs, path, folders)
    findings += unknown_services(fleet.notify, names)
    problems += [_located(finding, merged, path) for finding in findings]
    if problems:
        raise ConfigError(problems)
    return fleet


def _read(path: str) -> bytes:
    def fail(message: str, hint: str) -> NoReturn:
        raise ConfigError([Problem(path, None, None, "", message, hint)])

    try:
        return read_regular(path, MAX_BYTES)
    except FileNotFoundError:
        fail("does not exist", "name an existing file, or set ATLAS_CONFIG to one")
    except IsADirectoryError:
        fail("is a directory", "name the YAML file in it, such as services.yaml")
    except PermissionError:
        fail("may not be read by this user", "change its owner or its mode")
    except OSError as error:
        fail(f"cannot be read: {error.strerror}", "name a YAML file")


def _folders(
    tree: Table, data: bytes, path: str, environ: Mapping[str, str], problems: list[Problem]
) -> Folders:
    entry = tree.entries.get("root")
    home = environ.get("HOME", "/")
    beside = Folders(os.path.dirname(path), home)
    line = read_root(data)
    if entry is None and line is None:
        return beside
    node = entry.value if entry else tree
    if isinstance(node, Scalar) and node.kind not in (Kind.TEXT, Kind.INTEGER):
        return beside  # told as the wrong kind of value
    if not isinstance(node, Scalar) or "$" in node.text or line != node.text:
        problems.append(
            Problem(
                path,
                node.mark.line,
                node.mark.column,
                "root",
                "must be plain text on a line of its own, without variables",
                "write it like root: ..",
            )
        )
        return beside
    return Folders(beside.absolute(node.text), home)


def _variables(
    tree: Table, folders: Folders, path: str, environ: Mapping[str, str], problems: list[Problem]
) -> Mapping[str, str]:
    """Return what `${…}` is taken from: the environment, and under it the files of env_file."""
    entry = tree.entries.get("env_file")
    values: dict[str, str] = {}
    if entry is None:
        default = folders.absolute(".env")
        files = [default] if os.path.lexists(default) else []
    else:
        # Problems with the value itself are told when the whole tree is expanded and validated.
        node = expand_tree(entry.value, environ, path, [])
        items = node.items if isinstance(node, ListNode) else (node,)
        files = [
            folders.absolute(item.text)
            for item in items
            if isinstance(item, Scalar) and item.kind is Kind.TEXT and item.text
        ]
    for file in files:
        try:
            values |= read_env_file(file)
        except ConfigError as error:
            problems += error.problems
    return values | dict(environ)


def _expanded(
    tree: Table, variables: Mapping[str, str], path: str, problems: list[Problem]
) -> Table:
    return Table(
        {
            key: entry
            if key in _LITERAL_KEYS
            else Entry(entry.key_mark, expand_tree(entry.value, variables, path, problems, (key,)))
            for key, entry in tree.entries.items()
        },
        tree.mark,
    )


def _with_defaults(tree: Table) -> Table:
    defaults, services = tree.entries.get("defaults"), tree.entries.get("services")
    if defaults is None or services is None:
        return tree
    below = defaults.value
    if not isinstance(below, Table) or not isinstance(services.value, Table):
        return tree
    merged = {
        name: Entry(entry.key_mark, _merged(below, entry.value))
        for name, entry in services.value.entries.items()
    }
    under = Entry(services.key_mark, Table(merged, services.value.mark))
    return Table({**tree.entries, "services": under}, tree.mark)


def _merged(below: Node, above: Node) -> Node:
    if not isinstance(below, Table) or not isinstance(above, Table):
        return above
    entries = dict(below.entries)
    for key, entry in above.entries.items():
        value = _merged(entries[key].value, entry.value) if key in entries else entry.value
        entries[key] = Entry(entry.key_mark, value)
    return Table(entries, above.mark)


def _validate(tree: Table) -> tuple[Fleet | None, Mapping[str, Service], list[ErrorDetails]]:
    """Return the model and no errors, or the services that are sound by themselves and errors."""
    data = _plain(tree)
    try:
        read = Fleet.model_validate(data)
    except ValidationError as error:
        errors = error.errors(include_url=False)
    else:
        return read, read.services, []
    services = data.get("services") if isinstance(data, dict) else None
    broken = {
        error["loc"][1] for error in errors if error["loc"][0] == "services" and error["loc"][1:]
    }
    sound = {
        name: Service.model_validate(service)
        for name, service in (services.items() if isinstance(services, dict) else ())
        if name not in broken
    }
    return None, sound, errors


def _protected_ports(tree: Table) -> frozenset[int]:
    """Return the ports that can be read, whatever else in the file is wrong."""
    entry = tree.entries.get("protected_ports")
    ports: set[int] = set()
    for item in entry.value.items if entry and isinstance(entry.value, ListNode) else ():
        # What is no port is told where the whole is validated.
        with contextlib.suppress(PydanticCustomError):
            ports.add(PORT.read(item))
    return frozenset(ports)


def _plain(node: Node) -> object:
    match node:
        case Table(entries=entries):
            return {key: _plain(entry.value) for key, entry in entries.items()}
        case ListNode(items=items):
            return [_plain(item) for item in items]
        case Scalar():
            return node


def _located(finding: Finding, tree: Table, path: str) -> Problem:
    mark = locate(tree, finding.path)
    where: Path = finding.path
    return Problem(path, mark.line, mark.column, format_path(where), finding.message, finding.hint)


def _limit_resources() -> None:
    """Bound what hostile YAML can take; macOS has no RLIMIT_AS, and a lower limit may stand."""
    for limit, most in ((resource.RLIMIT_CPU, CPU_SECONDS), (resource.RLIMIT_AS, MEMORY_BYTES)):
        _, hard = resource.getrlimit(limit)
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(limit, (bound, hard))
        except (ValueError, OSError):
            continue


def main(arguments: Sequence[str]) -> int:
    """Print the result as JSON; exit 0 with a spec and 2 with problems."""
    parser = argparse.ArgumentParser(prog="supervisor.config.compile", description=__doc__)
    parser.add_argument("file", help="the YAML file")
    parser.add_argument(
        "--environ-on-stdin", action="store_true", help="read variables as a JSON object"
    )
    options = parser.parse_args(arguments)
    environ: Mapping[str, str] = os.environ
    if options.environ_on_stdin:
        environ = json.loads(sys.stdin.buffer.read(MAX_ENVIRONMENT))
    _limit_resources()
    result: dict[str, codec.Json]
    try:
        result = {"spec": codec.encode(compile_file(options.file, environ))}
    except ConfigError as error:
        result = {"problems": [codec.encode(problem) for problem in error.problems[:MAX_PROBLEMS]]}
    print(json.dumps(result))
    return 0 if "spec" in result else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
