"""What is wrong in a configuration at a path of keys."""

from dataclasses import dataclass

from supervisor.config.document import Path


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong at a path of keys, not yet given its line."""

    path: Path
    message: str
    hint: str
