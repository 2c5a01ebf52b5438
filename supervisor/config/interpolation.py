"""`${NAME}` in values, after parsing: what is put in stays text and never becomes structure.

Keys are never touched. `${NAME}`, `${NAME:-default}` (unset or empty), `${NAME-default}` (unset),
`${NAME:?message}`; `$$` is one `$`; any other `$` is itself. A default may hold `${…}` again.
An expanded value is marked, so that `port: "${PORT:-3001}"` may be read as the number it is.
"""

import re
from collections.abc import Mapping

from supervisor.config.document import Entry, Kind, Node, Path, Scalar, Sequence, Table
from supervisor.config.problems import Problem, clip, format_path
from supervisor.config.quantities import SpellingError

MAX_DEPTH = 8
MAX_LENGTH = 256 * 1024
"""Characters in one expanded value: Linux takes 128 KiB in one argument or variable."""

_OPENING = re.compile(r"\$(?:\$|\{)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FORMS = "write ${NAME}, ${NAME:-default}, ${NAME-default} or ${NAME:?message}; $$ for a plain $"


def expand_text(text: str, variables: Mapping[str, str]) -> str:
    """Return text with its variables put in. Raises SpellingError."""
    return _expand(text, variables, 0)


def expand_tree(
    node: Node, variables: Mapping[str, str], file: str, problems: list[Problem], path: Path = ()
) -> Node:
    """Return the tree with every scalar value expanded; what cannot be is reported and left."""
    match node:
        case Scalar(text=text, kind=Kind.TEXT, mark=mark) if "$" in text:
            try:
                expanded = expand_text(text, variables)
            except SpellingError as error:
                where = format_path(path)
                problems.append(
                    Problem(file, mark.line, mark.column, where, error.message, error.hint)
                )
                return node
            return Scalar(expanded, Kind.TEXT, mark, expanded="${" in text)
        case Scalar():
            return node
        case Sequence(items=items, mark=mark):
            walked = (
                expand_tree(item, variables, file, problems, (*path, index))
                for index, item in enumerate(items)
            )
            return Sequence(tuple(walked), mark)
        case Table(entries=entries, mark=mark):
            return Table(
                {
                    key: Entry(
                        entry.key_mark,
                        expand_tree(entry.value, variables, file, problems, (*path, key)),
                    )
                    for key, entry in entries.items()
                },
                mark,
            )


def _expand(text: str, variables: Mapping[str, str], depth: int) -> str:
    if depth > MAX_DEPTH:
        raise SpellingError(
            f"defaults within defaults more than {MAX_DEPTH} deep", "set a variable"
        )
    parts: list[str] = []
    at = 0
    length = len(text)
    while found := _OPENING.search(text, at):
        parts.append(text[at : found.start()])
        if found[0] == "$$":
            parts.append("$")
            at = found.end()
        else:
            end = _closing(text, found.end())
            parts.append(_replace(text[found.end() : end], variables, depth))
            at = end + 1
        length += len(parts[-1])
        if length > MAX_LENGTH:
            raise SpellingError(
                "longer than 256 KiB with its variables put in", "shorten the variable"
            )
    parts.append(text[at:])
    return "".join(parts)


def _closing(text: str, start: int) -> int:
    depth = 1
    at = start
    while at < len(text):
        if text.startswith("$$", at):
            at += 2
            continue
        if text.startswith("${", at):
            depth += 1
            at += 2
            continue
        if text[at] == "}":
            depth -= 1
            if depth == 0:
                return at
        at += 1
    raise SpellingError("${ is never closed", f"add a }}; {_FORMS}")


def _replace(inside: str, variables: Mapping[str, str], depth: int) -> str:
    found = _NAME.match(inside)
    if found is None:
        raise SpellingError(f"${{{clip(inside, most=30)}}} names no variable", _FORMS)
    name, rest = found[0], inside[found.end() :]
    value = variables.get(name)
    if rest.startswith(":-"):
        return value or _expand(rest[2:], variables, depth + 1)
    if rest.startswith("-"):
        return value if value is not None else _expand(rest[1:], variables, depth + 1)
    if rest.startswith(":?"):
        if value:
            return value
        said = clip(rest[2:]) or "it is required"
        raise SpellingError(f"${name} is not set: {said}", f"export {name}=…, or put it into .env")
    if rest:
        raise SpellingError(f"${{{clip(inside, most=30)}}} is not a form that is known", _FORMS)
    if value is None:
        hint = f"export {name}=… or put it into .env, or give a default: ${{{name}:-…}}"
        raise SpellingError(f"${name} is not set", hint)
    return value
