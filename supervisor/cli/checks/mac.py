"""What of a Mac matters for speech on its GPU (MPS): processor, Rosetta, release, memory."""

import glob
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from supervisor.cli.findings import OURS, Finding
from supervisor.cli.wording import size
from supervisor.core.spec import ServiceSpec
from supervisor.install.manager import Run
from supervisor.posix.spawn import SpawnError
from supervisor.surroundings import surroundings

FALLBACK: Final = "PYTORCH_ENABLE_MPS_FALLBACK"
_FIRST_MPS: Final = (14, 0)
"""The macOS release from which on there is a torch to install (2.13.0: macosx_14_0_arm64)."""


class Facts(Protocol):
    """What is asked of the machine."""

    def architecture(self) -> str:
        """Return what this Python was built for, as uname(3) says it: arm64 or x86_64."""

    def sysctl(self, name: str) -> str | None:
        """Return a value of sysctl(8), or None where there is none of this name."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine that this runs on."""

    ask: Run

    def architecture(self) -> str:
        """Return what this Python was built for."""
        return platform.machine()

    def sysctl(self, name: str) -> str | None:
        """Return a value of sysctl(8)."""
        answer = self.ask(("/usr/sbin/sysctl", "-n", name))
        return answer.text.strip() if answer.ok else None


def mac(facts: Facts) -> Iterator[Finding]:
    """Yield what the machine can do for a model. To be asked on a Mac alone."""
    native = facts.sysctl("hw.optional.arm64") == "1"
    # Not platform.mac_ver(), which a Python built for an older macOS is told wrong (10.16).
    release = facts.sysctl("kern.osproductversion") or "of unknown release"
    check = "mac"
    memory = facts.sysctl("hw.memsize") or ""
    shared = f", {size(int(memory))} of memory" if memory.isdecimal() else ""
    chip = facts.sysctl("machdep.cpu.brand_string") or facts.architecture()
    told = f"{chip}, macOS {release}{shared}"
    if native and facts.architecture() != "arm64":
        text = f"{told}: this Python is for Intel and runs under Rosetta, slowly and without MPS"
        hint = "install Python for Apple silicon, remove .venv, and make it anew: make up"
        yield Finding(OURS, check, "wrong", text, hint)
    elif not native:
        yield Finding(OURS, check, "ok", f"{told}; no Apple GPU: models are computed on the CPU")
    elif () < _numbers(release) < _FIRST_MPS:
        text = f"{told}: PyTorch, which uses the GPU (MPS), is to be had from macOS 14 on"
        yield Finding(OURS, check, "note", text, "update macOS, or be content with the CPU")
    else:
        yield Finding(OURS, check, "ok", f"{told}, which the GPU (MPS) shares")


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split(".")[:2] if part.isdecimal())


def fallback(service: ServiceSpec, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield whether a service has PyTorch and would fail at what MPS lacks. For a Mac alone.

    One that has a doctor of its own knows more of it: it is not spoken for.
    """
    if service.doctor is not None or service.venv is None or not _has_torch(service.venv):
        return
    try:
        value = surroundings(service, environ, run=0, fleet="").get(FALLBACK)
    except SpawnError:
        return  # `commands.command` tells
    if value != "1":
        is_set = f"is {value!r}" if value else "is not set"
        text = (
            f"it has PyTorch and {FALLBACK} {is_set}: on the GPU, a request fails at the first "
            "operation that MPS lacks"
        )
        hint = f'unless it sets that itself: env of {service.name}: {{{FALLBACK}: "1"}}'
        yield Finding(service.name, "mps", "note", text, hint)


def _has_torch(venv: str) -> bool:
    pattern = os.path.join(glob.escape(venv), "lib", "python3*", "site-packages", "torch")
    return bool(glob.glob(pattern))
