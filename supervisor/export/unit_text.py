"""Text in systemd's unit files, so that it comes out as it went in (systemd.syntax(7)). Pure."""

import re
from typing import Final

from supervisor.export.exported import ExportError

_PLAIN: Final = re.compile(r"[A-Za-z0-9_/.:=@,+-]+")
_NAMED: Final = {"\n": r"\n", "\t": r"\t", "\r": r"\r", "\\": r"\\", '"': r"\"", "%": "%%"}
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_REFUSED: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def word(text: str) -> str:
    """Return one word of a line that systemd splits into words, whatever is in it."""
    if _PLAIN.fullmatch(text):
        return text
    return '"' + "".join(_escaped(character) for character in text) + '"'


def argument(text: str) -> str:
    """Return one word of a command, in which `$` begins no variable."""
    return word(text.replace("$", "$$"))


def assignment(name: str, value: str) -> str:
    """Return one word of Environment=. Raises ExportError for what systemd would ignore."""
    found = _REFUSED.search(value)
    if found is not None:
        raise ExportError(
            f"{name} has the character {found[0]!r}, and systemd takes no variable that has it: "
            "put it into a file that the service reads"
        )
    return word(f"{name}={value}")


def literal(text: str) -> str:
    """Return text for a line that is one value. Raises ExportError for what none can hold."""
    if _CONTROL.search(text) or text != text.strip() or text.endswith("\\"):
        raise ExportError(f"{text!r} cannot stand in a unit file as it is: rename it")
    return text.replace("%", "%%")


def _escaped(character: str) -> str:
    if character in _NAMED:
        return _NAMED[character]
    if _CONTROL.match(character):
        return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
    return character
