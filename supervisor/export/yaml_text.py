"""YAML that every reader understands alike, those of YAML 1.1 and 1.2."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import yaml

from supervisor.export.exported import ExportError

Tree = Mapping[str, "Tree"] | Sequence["Tree"] | str | int | float | bool | None

_PLAIN: Final = re.compile(r"[A-Za-z/](?:[A-Za-z0-9_./-]*[A-Za-z0-9])?")
_WORDS: Final = frozenset(
    {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"}
)
"""Something else to some reader: to one of Kubernetes' own, `y` is true and 1e3 a number."""
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's signature
        """Write everything where it belongs, however often it is there."""
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        """Indent lists in mappings, as people do."""
        super().increase_indent(flow, False)

    def text(self, text: str) -> yaml.ScalarNode:
        """Return a text that is a text to every reader."""
        plain = _PLAIN.fullmatch(text) is not None and text.lower() not in _WORDS
        style = None if plain else "|" if _is_prose(text) else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _is_prose(text: str) -> bool:
    """Tell whether a block shows its lines as they are; anything odd goes into quotes."""
    lines = text.split("\n")
    return (
        len(lines) > 2
        and not lines[-1]
        and all(line and line.isprintable() and line == line.rstrip() for line in lines[:-1])
        and not lines[0].startswith(" ")
    )


_Dumper.add_representer(str, _Dumper.text)


def dump(documents: Sequence[Tree]) -> str:
    """Return the documents as one stream, keys in their order. Raises ExportError."""
    for document in documents:
        _check(document)
    return "".join(
        "---\n"
        + yaml.dump(
            document,
            Dumper=_Dumper,
            sort_keys=False,
            allow_unicode=True,
            default_flow_style=False,
            width=2**31,
        )
        for document in documents
    )


def _check(tree: Tree, place: str = "") -> None:
    match tree:
        case str():
            if _SURROGATE.search(tree):
                # The place and not the text, which may be a secret.
                raise ExportError(
                    f"{place or 'a text'} is not UTF-8, and YAML can hold nothing else"
                )
        case Mapping():
            for key, value in tree.items():
                _check(key, f"a key of {place}")
                _check(value, f"{place}.{key}" if place else key)
        case Sequence():
            for number, value in enumerate(tree):
                _check(value, f"{place}[{number}]")
        case _:
            pass
