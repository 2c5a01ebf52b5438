"""The shapes that several keys of the YAML share: names, paths, commands, environments."""

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, WithJsonSchema

from supervisor.config.document import Kind, Scalar
from supervisor.config.dotenv import NAME_PATTERN
from supervisor.config.fields import EXPANDABLE, Key, ScalarType, Text, read_text, rejection
from supervisor.config.problems import clip
from supervisor.config.quantities import UMASK_PATTERN, SpellingError, parse_umask

MAX_WORDS = 4096
"""Of one command. Linux takes more, but not 4096 words that a person has written."""

SERVICE_NAME = Key(
    r"[a-z0-9][a-z0-9_-]{0,62}",
    "cannot name a service, a socket or a model",
    "use a-z, 0-9, _ and -, at most 63, a letter or digit first",
)
VARIABLE = Text(NAME_PATTERN, "cannot name a variable", "use letters, digits and _, no digit first")
_PATH = Text(r"[\s\S]+", "is not a path", 'write "." for the root')
_TEXT_LIST = {"type": "array", "items": Text().schema()}


def as_list(value: object) -> object:
    """Read one value as a list of one."""
    return [value] if isinstance(value, Scalar) else value


def check_command(words: list[str]) -> list[str]:
    """Reject a command without a program."""
    if not words or not words[0]:
        raise rejection("names no program", "write [program, argument, …]")
    if len(words) > MAX_WORDS:
        raise rejection(f"has {len(words)} words", f"{MAX_WORDS} are the most")
    return words


@dataclass(frozen=True, slots=True)
class Umask(ScalarType):
    """Permissions that new files lack, as octal digits in quotes."""

    def read(self, value: object) -> int:
        """Return the bits. Without quotes, 022 is 18 to one reader of YAML and 22 to another."""
        numbers = (Kind.INTEGER, Kind.FLOAT, Kind.ODD_NUMBER)
        if isinstance(value, Scalar) and not value.expanded and value.kind in numbers:
            digits = value.text.removeprefix("0o").zfill(3)
            shown = digits if re.fullmatch(UMASK_PATTERN, digits) else "022"
            raise rejection(
                f"{clip(value.text)} is a number that tools read differently (octal or decimal)",
                f'write "{shown}" in quotes',
            )
        try:
            return parse_umask(read_text(value))
        except SpellingError as error:
            raise rejection(error.message, error.hint) from None

    def schema(self) -> dict[str, object]:
        """Return the pattern of masks; a number of YAML is none."""
        return {
            "type": "string",
            "pattern": f"^(?:{UMASK_PATTERN}|{EXPANDABLE})$",
            "examples": ["022", "027", "077"],
        }


class Keys(BaseModel):
    """A mapping with no keys but these."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, populate_by_name=False)


ACCOUNT = Text(
    r"(?![0-9]+$)[^\s:/,]{1,64}",
    "is not the name of an account",
    "write the name that id -un prints, not its number",
)
Name = Annotated[str, SERVICE_NAME]
Path = Annotated[str, _PATH]
Command = Annotated[
    list[Annotated[str, Text()]],
    AfterValidator(check_command),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, {**_TEXT_LIST, "minItems": 1}]}),
]
Paths = Annotated[
    list[Path],
    BeforeValidator(as_list),
    WithJsonSchema({"anyOf": [_PATH.schema(), {"type": "array", "items": _PATH.schema()}]}),
]
EnvKey = Annotated[
    str,
    Key(
        rf"(?!LISTEN_(?:FDS|PID|FDNAMES)$){NAME_PATTERN}",
        "cannot be set as a variable",
        "use letters, digits and _, no digit first; LISTEN_* are set by the supervisor",
    ),
]
Environment = dict[EnvKey, Annotated[str, Text()]]
