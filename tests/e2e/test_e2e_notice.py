"""A service that works, but not as asked: who looks is told what is wrong, and the remedy."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e.conftest import System, eventually, free_port

LIMPING = str(Path(__file__).parent / "children" / "limping.py")
INCIDENT = (
    "the neural voice failed on mps: The operator 'aten::_weight_norm_interface' is not currently "
    "implemented for the MPS device; set PYTORCH_ENABLE_MPS_FALLBACK=1; espeak speaks meanwhile"
)


@dataclass(frozen=True, slots=True)
class Limping:
    """The service, and the file of what it has to tell."""

    system: System
    port: int = field(default_factory=free_port)

    @property
    def file(self) -> Path:
        return self.system.root / "words"

    def says(self, text: str) -> None:
        fresh = self.file.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.file)

    def write(self, **check: object) -> None:
        http = {"path": "/health", "json": {"tts.ready": True}, **check}
        service = {
            "command": [sys.executable, LIMPING, str(self.file)],
            "sockets": {"http": f"127.0.0.1:{self.port}"},
            "probes": {"readiness": {"http": http, "every": "50ms"}},
        }
        self.system.write({"tts": service})

    def notice(self) -> str | None:
        """Return the notice as the daemon has it now."""
        notice: str | None = self.system.service("tts")["notice"]
        return notice


@pytest.fixture
def limping(system: System) -> Limping:
    """A service that limps from the beginning, not started yet."""
    made = Limping(system)
    made.says(INCIDENT)
    made.write(notice="tts.notice")
    return made


def test_a_notice_is_told_wherever_somebody_looks(system: System, limping: Limping) -> None:
    assert INCIDENT in system.ctl("up").stdout
    assert system.service("tts")["state"] == "healthy"
    assert limping.notice() == INCIDENT
    assert f"notice: tts: {INCIDENT}" in system.ctl("status").stdout
    why = " ".join(system.ctl("why", "tts").stdout.split())
    assert f"but not as asked: {INCIDENT}." in why
    assert why.endswith(f"notice: {INCIDENT}")
    assert json.loads(system.ctl("why", "--json", "tts").stdout)["notice"] == INCIDENT

    for text in ("on the CPU: no GPU was found", ""):
        seq = system.seq()
        limping.says(text)
        system.event("notice", "tts", after=seq)
        assert limping.notice() == (text or None)
    assert "notice:" not in system.ctl("status").stdout
    # Some dozens of probes later, each change is told, and once.
    lines = system.ctl("events", "--json", "tts").stdout.splitlines()
    told = [e["text"] for e in map(json.loads, lines) if e["topic"] == "notice"]
    assert told == [INCIDENT, "on the CPU: no GPU was found", "it works as asked again"]


def test_a_new_daemon_learns_of_it_and_a_reload_forgets_it(
    system: System, limping: Limping
) -> None:
    system.ctl("up")
    pid = system.service("tts")["pid"]
    system.kill_daemon()
    assert INCIDENT in " ".join(system.ctl("why", "tts").stdout.split())
    system.ctl("up")
    assert eventually("the notice is known", limping.notice) == INCIDENT
    system.ctl("upgrade")
    assert eventually("the notice is known", limping.notice) == INCIDENT
    seq = system.seq()
    limping.write()
    (change,) = json.loads(system.ctl("plan", "--json").stdout)["changes"]
    assert change["why"] == ["probes.readiness.http.notice: tts.notice → none"]
    system.ctl("reload")
    system.event("notice", "tts", after=seq)
    assert limping.notice() is None
    assert system.service("tts")["pid"] == pid
