"""Commands written as one string become lists of words, before any variable is put in.

No shell runs them. Splitting comes first, so that `${NAME}` with a space in it stays one word; and
what only a shell would understand (`|`, `>`, `&&`, `$(…)`) is an error instead of an argument.
"""

import shlex

from supervisor.config.document import Entry, Kind, Node, Path, Scalar, Sequence, Table
from supervisor.config.problems import Problem, clip, format_path
from supervisor.config.quantities import SpellingError

_SHELL_ONLY = frozenset("();<>|&")


def split_words(text: str) -> list[str]:
    """Return the words of a command line, as sh quotes them. Raises SpellingError."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        words = list(lexer)
    except ValueError as error:
        raise SpellingError(
            f"cannot split into words: {error}".lower(), "close the quote"
        ) from None
    only_shell = next((word for word in words if word and set(word) <= _SHELL_ONLY), None)
    for opening in ("$(", "`"):
        if opening in text:
            only_shell = opening
    if only_shell is not None:
        hint = f"write [sh, -c, {clip(text)!r}] if a shell is what you want"
        raise SpellingError(f"{only_shell!r} needs a shell, and none runs here", hint)
    if not words:
        raise SpellingError("the command is empty", "write [program, argument, …]")
    return words


def split_commands(root: Table, file: str, problems: list[Problem]) -> Table:
    """Return the tree with every `command:` and `exec:` string as a list of words."""
    return _replaced(root, (), file, problems)


def _is_command(path: Path) -> bool:
    match path:
        case (
            ("services", _, "command")
            | ("services", _, "probes", _, "exec")
            | ("services", _, "doctor", "command")
            | ("services", _, "remedies", _, "do", "run" | "wait_for", "command")
            | ("notify", _, "command")
        ):
            return True
        case _:
            return False


def _has_commands(path: Path) -> bool:
    match path:
        case ("notify",) | ("services", _, "remedies"):
            return True
        case _:
            return False


def _replaced(table: Table, path: Path, file: str, problems: list[Problem]) -> Table:
    entries = {
        key: Entry(entry.key_mark, _replace(entry.value, (*path, key), file, problems))
        for key, entry in table.entries.items()
    }
    return Table(entries, table.mark)


def _replace(node: Node, path: Path, file: str, problems: list[Problem]) -> Node:
    if isinstance(node, Table) and len(path) < 7:
        return _replaced(node, path, file, problems)
    if isinstance(node, Sequence) and _has_commands(path):
        entries = (
            _replace(item, (*path, at), file, problems) for at, item in enumerate(node.items)
        )
        return Sequence(tuple(entries), node.mark)
    if not (isinstance(node, Scalar) and node.kind is Kind.TEXT and _is_command(path)):
        return node
    mark = node.mark
    try:
        words = split_words(node.text)
    except SpellingError as error:
        where = format_path(path)
        problems.append(Problem(file, mark.line, mark.column, where, error.message, error.hint))
        # One word stands in, so that the command is not reported a second time as missing.
        words = ["false"]
    return Sequence(tuple(Scalar(word, Kind.TEXT, mark) for word in words), mark)
