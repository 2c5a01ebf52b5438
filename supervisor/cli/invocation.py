"""What was asked on the command line, as typed values."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from supervisor.cli.terminal import PLAIN, ColorChoice, Paint

if TYPE_CHECKING:
    from supervisor.cli.connection import System

UP_TIMEOUT = 120.0
DOWN_TIMEOUT = 60.0
"""Seconds that `up` and `down`, and their like, wait unless told otherwise."""
UPGRADE_TIMEOUT = 90.0
"""Seconds, of which the new code may take many to prove itself before anything is changed."""

ARCHIVES_KEPT = 5
"""Archives of logs that `clean` leaves, unless told otherwise."""

ModelAction = Literal["fetch", "verify", "list"]
MODEL_ACTIONS: tuple[ModelAction, ...] = get_args(ModelAction)

ExportFormat = Literal["kubernetes", "systemd", "launchd"]
EXPORT_FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)

Shell = Literal["bash", "zsh", "fish"]
SHELLS: tuple[Shell, ...] = get_args(Shell)


@dataclass(frozen=True, slots=True)
class Invocation:
    """What was asked, in full. Options that a command does not have keep their default."""

    run: str
    """`module:function` in this package."""
    command: str
    config: str | None = None
    color: ColorChoice = "auto"
    paint: Paint = PLAIN
    services: tuple[str, ...] = ()
    json: bool = False
    watch: bool = False
    follow: bool = False
    timestamps: bool = False
    wait: bool = True
    rolling: bool = False
    details: bool = False
    forget: bool = False
    take_down: bool = False
    compiled: str = ""
    login: bool = False
    start: bool = True
    linger: bool = False
    timeout: float = UP_TIMEOUT
    lines: int | None = None
    all_lines: bool = False
    since: float | None = None
    """Unix seconds."""
    keep: int = ARCHIVES_KEPT
    dry_run: bool = False
    strangers: bool = False
    file: str | None = None
    shell: Shell = "bash"
    format: ExportFormat = "kubernetes"
    output: str = "-"
    """A folder; `-` is standard output."""
    images: tuple[str, ...] = ()
    namespace: str | None = None
    replicas: str | None = None
    cpu: str | None = None
    volume: str | None = None
    with_secrets: bool = False
    action: ModelAction = "list"
    models: tuple[str, ...] = ()
    accept_changed: tuple[str, ...] = ()
    test: bool = False
    print_address: bool = False
    targets: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    sound_file: str | None = None
    """None: to the ear; `-` is standard output."""
    voice: str | None = None
    speed: float | None = None
    fx: str | None = None
    speaker: str = "tts"
    """The service that speaks."""

    def system(self) -> "System":
        """Find the system that this is about. Raises ConfigError."""
        from supervisor.cli.connection import locate

        return locate(self.config, os.getcwd(), os.environ)
