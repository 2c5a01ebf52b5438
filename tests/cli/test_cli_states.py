"""The states of what lives: which is good, which is awaited, and how each is shown."""

import pytest

from supervisor.cli.episode import Episode
from supervisor.cli.headline import headline
from supervisor.cli.services import (
    AILING,
    Reached,
    Underway,
    is_good,
    is_up,
    needs_start,
    progress_up,
    state_color,
)
from supervisor.cli.status_table import render_status
from supervisor.cli.terminal import PLAIN
from supervisor.control.messages import ProbeStatus
from tests.cli.conftest import Golden
from tests.cli.fleets import daemon, service

NOON = 1_700_000_000.0
SILENCE = "no reply within 2 s (connected, request sent)"


def test_what_is_busy_is_well() -> None:
    busy = service("tts", state="busy", reason="transaction probe: put off: 1 request is in flight")
    assert is_good(busy)
    assert is_up(busy)
    assert not needs_start(busy)
    assert progress_up(busy, {}) == Reached()
    assert state_color("busy") == state_color("healthy")
    told = headline(Episode("tts", ()), busy, NOON)
    assert told.startswith("tts is healthy since ")
    assert told.endswith("and busy now: transaction probe: put off: 1 request is in flight.")
    limping = service("tts", state="busy", reason="speaks", notice="on the CPU")
    told = headline(Episode("tts", ()), limping, NOON)
    assert told.endswith(" and busy now, but not as asked: on the CPU. It is busy: speaks.")


@pytest.mark.parametrize("state", AILING)
def test_what_ails_is_not_well_and_may_get_better(state: str) -> None:
    ailing = service("tts", state=state, ready=False, settled=False, reason="no reply")
    assert not is_good(ailing)
    assert not is_up(ailing)
    assert not needs_start(ailing), "it runs: `up` has nothing to start"
    assert progress_up(ailing, {}) == Underway()
    assert f"tts is {state} since" in headline(Episode("tts", ()), ailing, NOON)


def test_status_of_what_is_busy_and_of_what_ails(golden: Golden) -> None:
    def probed(kind: str, detail: str, ok: bool | None = False) -> ProbeStatus:
        return {"kind": kind, "ok": ok, "detail": detail, "latency": 2.0, "age": 0.4}

    work = f"{SILENCE} while 1 request is in flight"
    services = [
        service("single", state="busy", reason=f"readiness probe: {work}",
                probe=probed("readiness", work)),
        service("queueing", state="busy", reason="works on something, by its own word",
                probe=probed("transaction", "put off: it works on something", None)),
        service("stuck", state="hung", ready=False, since=4.0,
                reason=f"transaction probe failed once: {SILENCE}",
                probe=probed("transaction", SILENCE)),
        service("faulty", state="broken", ready=False, since=4.0,
                reason="transaction probe failed once: 500 Internal Server Error",
                probe=probed("transaction", "500 Internal Server Error")),
        service("gone", state="unreachable", ready=False, since=4.0,
                reason="readiness probe failed 3 times in a row: connection refused",
                probe=probed("readiness", "connection refused")),
    ]  # fmt: skip
    golden("status_ailing.txt", render_status(daemon(), services, PLAIN, "config/services.yaml"))
