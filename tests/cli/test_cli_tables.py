"""What is printed for given answers of the daemon: golden files, to be read by people."""

import pytest

from supervisor.cli.plan_table import change_lines, plan_summary, reload_summary
from supervisor.cli.progress import (
    arrival_line,
    change_line,
    next_steps,
    summary_line,
    underway_lines,
    where_lines,
)
from supervisor.cli.services import Lost, Reached, Underway
from supervisor.cli.status_table import asked_services, render_status
from supervisor.cli.terminal import PLAIN, Paint
from tests.cli.conftest import Golden
from tests.cli.fleets import change, daemon, down, fleet, service

CONFIG = "config/services.yaml"

MIXED = [
    service("tts", ports=[3001], restarts=1, run=2, description="Ukrainian text to speech"),
    service(
        "озвучення",
        state="loading",
        ready=False,
        settled=False,
        reason="waiting for the startup probe",
        since=3.2,
        uptime=3.2,
        ports=[3002, 3003],
        probe={
            "kind": "startup",
            "ok": False,
            "detail": "connection refused",
            "latency": 0.0002,
            "age": 0.1,
        },
        cpu=98.7,
        memory=4 * 1024**3,
    ),
    down(
        "broken",
        state="failed",
        goal="up",
        reason="failed 5 times within 3.1 s (limit 5 in 60 s); the last time it exited with code 1",
        last_exit="exited with code 1",
        restarts=4,
        since=61.0,
    ),
    down("worker", state="blocked", goal="up", reason="waiting for tts to be ready", since=2.0),
    down("off", reason="disabled in the configuration", enabled=False, since=3785.0),
    service("音声", state="running", probe=None, ports=[]),
    service(
        "flaky",
        probe={
            "kind": "liveness",
            "ok": False,
            "detail": "503 Service Unavailable \x1b[2J",
            "latency": 0.01,
            "age": 0.4,
        },
        log_lost=5000,
    ),
    down("migrate", state="completed", goal="up", reason="exited with code 0"),
]
NOTICE = (
    "the neural voice failed on mps: aten::_weight_norm_interface is not implemented there; "
    "fold weight norm, or set PYTORCH_ENABLE_MPS_FALLBACK=1; espeak speaks meanwhile \x1b[2J"
)


def test_status_of_one_healthy_service(golden: Golden) -> None:
    golden("status_healthy.txt", render_status(daemon(), MIXED[:1], PLAIN, CONFIG))


def test_status_of_every_kind_of_trouble(golden: Golden) -> None:
    golden("status_mixed.txt", render_status(daemon(stopping=True), MIXED, PLAIN, CONFIG))


def test_status_of_what_works_and_not_as_asked(golden: Golden) -> None:
    noticing = [service("tts", notice=NOTICE), service("stt")]
    golden("status_notice.txt", render_status(daemon(), noticing, PLAIN, CONFIG))
    assert "\x1b[33mnotice:" in "\n".join(render_status(daemon(), noticing, Paint(on=True), CONFIG))


def test_an_older_daemon_gives_no_notice(golden: Golden) -> None:
    older = service("tts", ports=[3001], restarts=1, run=2)
    del older["notice"]  # type: ignore[misc]
    golden("status_healthy.txt", render_status(daemon(), [older], PLAIN, CONFIG))


def test_status_in_colour(golden: Golden) -> None:
    golden("status_colour.txt", render_status(daemon(), MIXED[:3], Paint(on=True), CONFIG))


def test_status_without_services(golden: Golden) -> None:
    golden("status_empty.txt", render_status(daemon(), [], PLAIN, CONFIG))


def test_no_byte_of_a_service_reaches_the_terminal_as_a_command() -> None:
    text = "\n".join(render_status(daemon(), MIXED, PLAIN, CONFIG))
    assert "\x1b" not in text


def test_status_judges_what_is_enabled_or_wanted() -> None:
    hand_started = service("hand", enabled=False)
    found = asked_services(fleet(*MIXED, hand_started), [])
    assert [s["name"] for s in found] == [
        "tts",
        "озвучення",
        "broken",
        "worker",
        "音声",
        "flaky",
        "migrate",
        "hand",
    ]
    assert [s["name"] for s in asked_services(fleet(*MIXED), ["off"])] == ["off"]


def test_progress_of_up(golden: Golden) -> None:
    lines = [
        "# while it goes on, on a terminal",
        *underway_lines(MIXED[1:4], 3.4, PLAIN, verb="up"),
        "# a line a change, elsewhere",
        *(change_line(s, PLAIN) for s in MIXED[1:4]),
        "# on arrival",
        arrival_line(MIXED[0], Reached(), 0.94, PLAIN, already=False),
        arrival_line(MIXED[0], Reached(), 0.01, PLAIN, already=True),
        arrival_line(service("tts", notice=NOTICE), Reached(), 0.94, PLAIN, already=False),
        arrival_line(service("tts", notice=NOTICE), Reached(), 0.01, PLAIN, already=True),
        arrival_line(MIXED[7], Reached(), 12.2, PLAIN, already=False),
        arrival_line(MIXED[2], Lost(MIXED[2]["reason"]), 3.2, PLAIN, already=False),
        arrival_line(MIXED[1], Underway(), 120.04, PLAIN, already=False),
        arrival_line(down("tts"), Reached(), 0.21, PLAIN, already=False),
    ]
    golden("up_progress.txt", lines)


def test_the_end_of_up(golden: Golden) -> None:
    up = [MIXED[0], MIXED[5], MIXED[7]]
    logs = [f"logs/{s['name']}.log" for s in up]
    golden(
        "up_end.txt",
        [*where_lines(up, logs, PLAIN), summary_line(up, 41, 1.93), next_steps(up)],
    )


def test_the_end_of_up_with_a_hundred_services(golden: Golden) -> None:
    many = [service(f"s{n}", ports=[4000 + n] if n % 30 == 0 else []) for n in range(100)]
    logs = [f"logs/{s['name']}.log" for s in many]
    golden(
        "up_end_many.txt",
        [*where_lines(many, logs, PLAIN), summary_line(many, 41, 4.2), next_steps(many)],
    )


@pytest.mark.parametrize(
    ("services", "text"),
    [
        ([], "No service to start after 1 s; the supervisor is pid 41."),
        ([MIXED[7]], "1 completed after 1 s; the supervisor is pid 41."),
        ([MIXED[0], MIXED[5]], "2 services up after 1 s; the supervisor is pid 41."),
    ],
)
def test_summaries(services: list[object], text: str) -> None:
    assert summary_line(services, 41, 1.0) == text  # type: ignore[arg-type]


CHANGES = [
    change("tts", "restart", "command: python a.py → python b.py", "env.API_KEY: •••• → ••••"),
    change("озвучення", "live", "restart.backoff.max: 30s → 60s", "description: a \x1b[2J → b"),
    change("音声"),
    change("new", "add", "new"),
    change("many", "restart", *(f"env.V{n}: {n} → {n + 1}" for n in range(40))),
    change("old", "remove", "no longer in the configuration; its run is stopped"),
]


def test_a_plan_of_every_kind_of_change(golden: Golden) -> None:
    lines = [*change_lines(CHANGES, PLAIN), "", plan_summary(CHANGES, CONFIG)]
    golden("plan.txt", lines)
    assert "\x1b" not in "\n".join(lines)


def test_a_plan_in_colour(golden: Golden) -> None:
    golden("plan_colour.txt", change_lines([*CHANGES[:4], CHANGES[5]], Paint(on=True)))


def test_the_end_of_reload(golden: Golden) -> None:
    lines = [
        reload_summary(CHANGES, CONFIG, 1.93),
        reload_summary(CHANGES, CONFIG, None),
        reload_summary([change("a"), change("b")], CONFIG, 0.1),
        plan_summary([], CONFIG),
    ]
    golden("reload_end.txt", lines)
