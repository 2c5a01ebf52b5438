"""The keys under `remedies:`: what a known failure looks like, and what is done about it."""

from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from supervisor.config.document import Kind, Scalar
from supervisor.config.fields import (
    Boolean,
    Choice,
    Duration,
    Integer,
    Key,
    ScalarType,
    Text,
    read_text,
    rejection,
)
from supervisor.config.probe_model import DAY
from supervisor.config.quantities import SpellingError, parse_signal
from supervisor.config.shapes import Command, Environment, Keys, Path, as_list
from supervisor.core import spec
from supervisor.core.pattern import LONGEST_PATTERN, MOST_PATTERNS, Pattern, PatternError

MOST_REMEDIES = 100
_COMMAND = spec.RemedyCommand(())
_WAIT = spec.WaitFor(spec.PortFree(0))
_LIMIT = spec.RemedyLimit()
_TRIGGERS = ("output", "exit", "probe")
_CONDITIONS = ("port_free", "file", "command")

RULE_NAME = Text(
    r"[A-Za-z0-9][\w .-]{0,62}",
    "cannot name a remedy",
    "use letters, digits, spaces, _, . and -, at most 63 characters",
)
FLAG = Key(r"--?[A-Za-z][\w.-]*", "is no flag", "write it with its dashes, like --device")


@dataclass(frozen=True, slots=True)
class LinePattern(ScalarType):
    """Text that stands in a line; `*` is anything."""

    def read(self, value: object) -> str:
        """Return the text of a sound pattern."""
        text = read_text(value)
        try:
            return Pattern.parse(text).text
        except PatternError as error:
            raise rejection(error.message, error.hint) from None

    def schema(self) -> dict[str, object]:
        """Return the bounds of patterns."""
        return {"type": "string", "minLength": 1, "maxLength": LONGEST_PATTERN}


@dataclass(frozen=True, slots=True)
class ExitWay(ScalarType):
    """An exit code, or the name of a signal."""

    def read(self, value: object) -> tuple[str, int]:
        """Return `("code", 78)` or `("signal", 9)`."""
        if isinstance(value, Scalar) and value.kind is Kind.TEXT and not value.text.isdigit():
            try:
                return "signal", parse_signal(value.text)
            except SpellingError:
                hint = "write a code from 0 to 255, or a signal like SIGKILL"
                raise rejection(f"{value.text!r} is no way to end", hint) from None
        return "code", Integer(0, 255).read(value)

    def schema(self) -> dict[str, object]:
        """Return a code or a name."""
        code = {"type": "integer", "minimum": 0, "maximum": 255}
        return {"anyOf": [code, {"type": "string", "examples": ["SIGKILL"]}]}


@dataclass(frozen=True, slots=True)
class Argument(ScalarType):
    """The value of a flag; true for a flag without one, false for no such flag."""

    def read(self, value: object) -> str | bool:
        """Return the value."""
        if isinstance(value, Scalar) and value.kind is Kind.BOOLEAN:
            return Boolean().read(value)
        text = read_text(value)
        if not text:
            raise rejection("is empty", "write true for a flag without a value")
        return text

    def schema(self) -> dict[str, object]:
        """Return text or a truth value."""
        return {"type": ["string", "integer", "boolean"]}


def check_exits(ways: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Reject a list that nothing fits."""
    if not ways:
        raise rejection("names no way to end", "write it like [78, SIGKILL]")
    return ways


Exits = Annotated[
    list[Annotated[tuple[str, int], ExitWay()]],
    BeforeValidator(as_list),
    AfterValidator(check_exits),
    WithJsonSchema(
        {
            "anyOf": [
                ExitWay().schema(),
                {"type": "array", "items": ExitWay().schema(), "minItems": 1},
            ]
        }
    ),
]


class When(Keys):
    """What a failure looks like: exactly one of output, exit and probe."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": [trigger]} for trigger in _TRIGGERS]}
    )

    output: Annotated[str, LinePattern()] | None = Field(
        default=None,
        description="Text in a line that it prints, upper and lower case as written. * stands for"
        " anything within the line; a star itself is \\*.",
    )
    exit: Exits | None = Field(
        default=None,
        description="Exit codes and signals by which it ends though nobody has asked it to.",
    )
    probe: Annotated[
        spec.ProbeKind | None, Choice({kind.value: kind for kind in spec.ProbeKind})
    ] = Field(default=None, description="A probe of this service that fails.")
    failed: Annotated[int, Integer(1, 10_000)] = Field(
        default=1, description="With probe: how many times in a row. Default 1."
    )
    says: Annotated[str, LinePattern()] | None = Field(
        default=None,
        description="With probe: what its words hold the last time, written like output.",
    )

    @model_validator(mode="after")
    def _one_trigger(self) -> Self:
        given = [name for name in _TRIGGERS if getattr(self, name) is not None]
        if not given:
            raise rejection("looks for nothing", "give it one of output, exit or probe")
        if len(given) > 1:
            raise rejection(
                f"has {' and '.join(given)}", "keep one of them, and make two remedies of it"
            )
        for name in ("failed", "says"):
            if name in self.model_fields_set and self.probe is None:
                raise rejection(f"has {name} without a probe", f"remove {name}, or name a probe")
        return self


class Run(Keys):
    """A command that must exit 0."""

    command: Command = Field(
        description="Program and arguments, run in the service's environment and directory."
    )
    timeout: Annotated[float, Duration(0.1, DAY)] = Field(
        default=_COMMAND.timeout, description="Time it has before it is killed. Default 30s."
    )


class WaitFor(Keys):
    """What must come true before the service is started again: exactly one condition."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": [condition]} for condition in _CONDITIONS]}
    )

    port_free: Annotated[int, Integer(1, 65535)] | None = Field(
        default=None, description="Nobody listens on this TCP port."
    )
    file: Path | None = Field(default=None, description="There is something at this path.")
    command: Command | None = Field(
        default=None, description="This command exits 0. It is asked again every second."
    )
    timeout: Annotated[float, Duration(0.1, DAY)] = Field(
        default=_WAIT.timeout, description="Longest wait. Default 1m."
    )

    @model_validator(mode="after")
    def _one_condition(self) -> Self:
        given = [name for name in _CONDITIONS if getattr(self, name) is not None]
        if not given:
            raise rejection("waits for nothing", "give it one of port_free, file or command")
        if len(given) > 1:
            raise rejection(f"has {' and '.join(given)}", "keep one of them")
        return self


class Do(Keys):
    """What helps, in this order: variables and arguments, command, wait, restart."""

    set_env: Environment = Field(
        default_factory=dict,
        description="Variables that every later run gets, until the configuration changes.",
    )
    set_args: dict[Annotated[str, FLAG], Annotated[str | bool, Argument()]] = Field(
        default_factory=dict,
        description="Flags of its command and their values, for every later run: {--device: cpu}."
        " true: a flag without a value; false: no such flag.",
    )
    run: Run | None = Field(default=None, description="A command that is run.")
    wait_for: WaitFor | None = Field(
        default=None, description="What must come true before the restart."
    )
    restart: Annotated[bool, Boolean()] = Field(
        default=False, description="Whether it is started again at once. Default false."
    )
    give_up: Annotated[str, Text(r"[^\r\n]*\S[^\r\n]*", "is no sentence", "say why", most=500)] | (
        None
    ) = Field(
        default=None,
        description="Stop trying, and say this: for what only a person can mend. Alone only.",
    )

    @model_validator(mode="after")
    def _sense(self) -> Self:
        others = bool(self.set_env or self.set_args or self.run or self.wait_for or self.restart)
        if self.give_up is not None and others:
            raise rejection("gives up and does something as well", "keep one of the two")
        if self.give_up is None and not others:
            raise rejection("does nothing", "give it set_env, set_args, run, restart or give_up")
        if self.wait_for is not None and not self.restart:
            raise rejection("waits for something, and nothing follows", "add restart: true")
        return self


class Limit(Keys):
    """How often a remedy is applied at most; then it has not helped."""

    times: Annotated[int, Integer(1, 100)] = Field(
        default=_LIMIT.times, description="Times. Default 3."
    )
    within: Annotated[float, Duration(1, 366 * DAY)] = Field(
        default=_LIMIT.within, description="Time in which they are counted. Default 1h."
    )


class Remedy(Keys):
    """A rule for a known failure: when it looks so, do that."""

    name: Annotated[str, RULE_NAME] | None = Field(
        default=None, description="What it is called. Default: remedy 1, 2, …, by its place."
    )
    when: When = Field(description="What the failure looks like.")
    do: Do = Field(description="What is done about it.")
    limit: Limit = Field(default_factory=Limit, description="How often at most.")
    dry_run: Annotated[bool, Boolean()] = Field(
        default=False, description="Whether it is only told what would be done. Default false."
    )


def check_remedies(remedies: list[Remedy]) -> list[Remedy]:
    """Reject more of them than can be looked for."""
    if len(remedies) > MOST_REMEDIES:
        raise rejection(f"has {len(remedies)} remedies", f"{MOST_REMEDIES} are the most")
    patterns = {remedy.when.output for remedy in remedies if remedy.when.output is not None}
    if len(patterns) > MOST_PATTERNS:
        raise rejection(
            f"looks for {len(patterns)} patterns in its output",
            f"{MOST_PATTERNS} are the most: join some with a *",
        )
    return remedies


Remedies = Annotated[list[Remedy], AfterValidator(check_remedies)]
