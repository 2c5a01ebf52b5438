"""What can be seen to be wrong with notifications, without sending one."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import assert_never

from supervisor.core.notify import Desktop, Hook, MetricsFile, Target, Webhook
from supervisor.notify.errand import recall
from supervisor.notify.local import desktop_program, no_desktop
from supervisor.posix.executable import ExecutableError, find_executable


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong."""

    target: str
    """A name of `notify:`; empty: the file of `metrics:`."""
    text: str
    hint: str


def check(
    targets: tuple[Target, ...],
    metrics: MetricsFile | None,
    *,
    state_dir: str,
    root: str,
    environ: Mapping[str, str],
) -> Iterator[Trouble]:
    """Yield what would keep targets from being told, or the file from being written."""
    memory = recall(state_dir)
    for target in targets:
        yield from _unable(target, root, environ)
        known = None if memory is None else memory.targets.get(target.name)
        if known is not None and not known.last_ok:
            text = f"the last try failed: {known.last_words}"
            yield Trouble(target.name, text, f"atlasctl notify --test {target.name}")
    if metrics is not None:
        folder = os.path.dirname(metrics.file)
        if not os.path.isdir(folder):
            yield Trouble("", f"there is no folder {folder}", f"mkdir -p {folder}")
        elif not os.access(folder, os.W_OK | os.X_OK):
            yield Trouble("", f"nothing can be written in {folder}", "change its owner or its mode")


def _unable(target: Target, root: str, environ: Mapping[str, str]) -> Iterator[Trouble]:
    match target.channel:
        case Webhook():
            pass  # only a try can tell
        case Desktop():
            if desktop_program(environ) is None:
                yield Trouble(target.name, no_desktop(), "install it, or use a webhook")
        case Hook(command=command):
            try:
                find_executable(command[0], path=environ.get("PATH", ""), cwd=root)
            except ExecutableError as error:
                yield Trouble(target.name, str(error), "correct the command under notify:")
        case _:
            assert_never(target.channel)
