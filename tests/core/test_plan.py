"""What a new configuration means for what runs."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.masking import CHANGED, MASK
from supervisor.core.plan import (
    NEEDS_RESTART,
    Change,
    ChangeKind,
    EnvChange,
    masked,
    plan,
)
from supervisor.core.spec import (
    Backoff,
    Condition,
    Dependency,
    DoctorSpec,
    ExecCheck,
    Expectations,
    GiveUp,
    HttpCheck,
    Limits,
    LogSpec,
    OutputTrigger,
    ProbeSpec,
    Remedy,
    RestartSpec,
    ServiceSpec,
    SocketSpec,
    StopSpec,
    TcpCheck,
    Wav,
)
from tests.config.test_spec_codec import values_of

BASE = ServiceSpec("tts", ("python", "a.py"), "/srv", env={"A": "1"})
ENV = {"A": "1", "PATH": "/bin", "ATLAS_RUN": "7"}


def changed(
    new: ServiceSpec,
    old: ServiceSpec = BASE,
    running: Mapping[str, str] | None = ENV,
    wanted: Mapping[str, str] | None = None,
) -> Change:
    """Return the one change between two specs; by default of a service that runs as specified."""
    runs = {} if running is None else {old.name: running}
    would = wanted if wanted is not None else running
    starts = {} if would is None else {old.name: would}
    (change,) = plan({old.name: old}, {new.name: new}, runs, starts)
    return change


# Kinds ---------------------------------------------------------------------------------------


def test_every_field_of_a_spec_is_classified() -> None:
    limits = {f"limits.{field.name}" for field in fields(Limits)}
    named = {field.name for field in fields(ServiceSpec)} - {"name", "limits"}
    assert NEEDS_RESTART.keys() == named | limits


DIFFERENT: dict[str, Any] = {
    "command": ("python", "b.py"),
    "cwd": "/tmp",
    "env": {"A": "2"},
    "env_files": ("/srv/a.env",),
    "inherit_env": ("DISPLAY",),
    "venv": "/srv/.venv",
    "ports": (3001,),
    "sockets": (SocketSpec("http", (("127.0.0.1", 3001), ("::1", 3001))),),
    "umask": 0o077,
    "user": "nobody",
    "limits.open_files": 100,
    "limits.processes": 10,
    "limits.nice": 5,
    "limits.memory": 2 * 1024**3,
    "description": "speech",
    "enabled": False,
    "startup": ProbeSpec(TcpCheck("127.0.0.1", 3001)),
    "readiness": ProbeSpec(ExecCheck(("true",))),
    "liveness": ProbeSpec(HttpCheck("::1", 3001)),
    "transaction": ProbeSpec(HttpCheck("::1", 3001, "/tts", "POST"), every=300, idle=True),
    "busy_deadline": 1200.0,
    "doctor": DoctorSpec(("look", "--token", "12345678")),
    "restart": RestartSpec(policy="never"),
    "stop": StopSpec(signal=2),
    "depends_on": (Dependency("db"),),
    "logs": LogSpec(keep=1),
    "remedies": (Remedy("port", OutputTrigger("in use"), restart=True),),
}
SAID = {
    "command": "command: python a.py → python b.py",
    "cwd": "cwd: /srv → /tmp",
    "env": "env.A: 1 → 2",
    "env_files": "env_file: none → /srv/a.env",
    "inherit_env": "inherit_env: none → DISPLAY",
    "venv": "venv: none → /srv/.venv",
    "ports": "ports: none → 3001",
    "sockets": "sockets.http: none → 127.0.0.1:3001, [::1]:3001 (backlog 512)",
    "umask": "umask: 022 → 077",
    "user": "user: none → nobody",
    "limits.open_files": "limits.open_files: none → 100",
    "limits.processes": "limits.processes: none → 10",
    "limits.nice": "limits.nice: 0 → 5",
    "limits.memory": "limits.memory: none → 2GiB",
    "description": "description: '' → speech",
    "enabled": "enabled: true → false",
    "startup": "probes.startup: none → tcp 127.0.0.1:3001 every 10s",
    "readiness": "probes.readiness: none → true every 10s",
    "liveness": "probes.liveness: none → GET http://[::1]:3001/ every 10s",
    "transaction": "probes.transaction: none → POST http://[::1]:3001/tts every 5m",
    "busy_deadline": "probes.busy.deadline: 10m → 20m",
    "doctor": "doctor: none → look --token ••••",
    "restart": "restart.policy: always → never",
    "stop": "stop.signal: TERM → INT",
    "depends_on": "depends_on.db: none → ready",
    "logs": "logs.keep: 5 → 1",
    "remedies": (
        'remedies.port: none → if it prints "in use": restart it, 3 times within 1 h at most'
    ),
}


def with_field(field: str, value: object) -> ServiceSpec:
    group, _, name = field.rpartition(".")
    if group:
        return replace(BASE, limits=replace(BASE.limits, **{name: value}))  # type: ignore[arg-type]
    return replace(BASE, **{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("field", NEEDS_RESTART)
def test_a_change_of_each_field(field: str) -> None:
    change = changed(with_field(field, DIFFERENT[field]))
    restart = NEEDS_RESTART[field]
    assert change.kind is (ChangeKind.RESTART if restart else ChangeKind.LIVE)
    assert change.why == (SAID[field],)
    # And back again, which says it the other way round.
    back = changed(BASE, old=with_field(field, DIFFERENT[field]))
    assert back.kind is change.kind
    assert len(back.why) == 1


@pytest.mark.parametrize("field", NEEDS_RESTART)
def test_nothing_is_restarted_that_does_not_run(field: str) -> None:
    change = changed(with_field(field, DIFFERENT[field]), running=None)
    assert change.kind is ChangeKind.LIVE
    assert change.why == (SAID[field],)


def test_what_is_new_and_what_is_gone() -> None:
    off = replace(BASE, name="off", enabled=False)
    gone, idle = replace(BASE, name="gone"), replace(BASE, name="idle")
    old = {"gone": gone, "idle": idle, "tts": BASE}
    new = {"off": off, "tts": BASE, "fresh": replace(BASE, name="fresh")}
    assert plan(old, new, {"gone": ENV, "tts": ENV}, {"tts": ENV, "fresh": ENV}) == (
        Change("off", ChangeKind.ADD, ("new; disabled, so it is not started",)),
        Change("tts", ChangeKind.NONE),
        Change("fresh", ChangeKind.ADD, ("new",)),
        Change("gone", ChangeKind.REMOVE, ("no longer in the configuration; its run is stopped",)),
        Change("idle", ChangeKind.REMOVE, ("no longer in the configuration",)),
    )


def test_an_edited_env_file_is_a_restart_though_no_spec_has_changed() -> None:
    spec = replace(BASE, env_files=("/srv/a.env",))
    change = changed(spec, old=spec, wanted={**ENV, "B": "2", "PATH": "/usr/bin", "A": "1"})
    assert change == Change(
        "tts",
        ChangeKind.RESTART,
        ("environment.B: not set → 2", "environment.PATH: /bin → /usr/bin"),
        (EnvChange("B", None, "2"), EnvChange("PATH", "/bin", "/usr/bin")),
    )


def test_the_marks_of_a_run_are_no_difference() -> None:
    marks = {"ATLAS_RUN": "8", "ATLAS_UNIT": "tts", "ATLAS_FLEET": "0badcafe"}
    assert changed(BASE, wanted={**ENV, **marks}) == Change("tts", ChangeKind.NONE)


def test_a_variable_of_a_service_that_begins_as_the_marks_do_is_one() -> None:
    change = changed(BASE, wanted={**ENV, "ATLAS_TTS_URL": "http://localhost:3001"})
    assert change.env == (EnvChange("ATLAS_TTS_URL", None, "http://localhost:3001"),)


def test_a_variable_of_the_spec_is_told_once() -> None:
    change = changed(replace(BASE, env={"A": "2"}), wanted={**ENV, "A": "2"})
    assert change.why == ("env.A: 1 → 2",)
    assert change.env == (EnvChange("A", "1", "2"),)


def test_where_no_start_is_possible_the_specs_decide() -> None:
    (change,) = plan({"tts": BASE}, {"tts": BASE}, {"tts": ENV}, {})
    assert change == Change("tts", ChangeKind.NONE)


def test_a_restart_is_told_with_what_is_live_beside_it() -> None:
    new = replace(BASE, command=("python", "b.py"), restart=RestartSpec(backoff=Backoff(max=60.0)))
    change = changed(new)
    assert change.kind is ChangeKind.RESTART
    assert change.why == (SAID["command"], "restart.backoff.max: 30s → 60s")


# Words ---------------------------------------------------------------------------------------

HTTP = HttpCheck("127.0.0.1", 3001, "/health", headers=(("Accept", "a/b"),), body=b"12345")
PROBED = replace(BASE, readiness=ProbeSpec(HTTP), depends_on=(Dependency("db"),))


def with_check(**changes: Any) -> ServiceSpec:
    return replace(PROBED, readiness=ProbeSpec(replace(HTTP, **changes)))


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (with_check(path="/ready"), "probes.readiness.http.path: /health → /ready"),
        (with_check(host="::1"), "probes.readiness.http.host: 127.0.0.1 → ::1"),
        (
            with_check(headers=(("Accept", "c/d"),)),
            "probes.readiness.http.headers.Accept: a/b → c/d",
        ),
        (with_check(body=b"abcde"), "probes.readiness.http.body: 5 bytes → 5 bytes (changed)"),
        (with_check(body=None), "probes.readiness.http.body: 5 bytes → none"),
        (
            with_check(expect=Expectations(status=((200, 204), (404, 404)))),
            "probes.readiness.http.status: 200-299 → 200-204, 404",
        ),
        (
            with_check(expect=Expectations(json=(("a.0", True), ("b", None)))),
            "probes.readiness.http.json.a.0: not set → true|"
            "probes.readiness.http.json.b: not set → null",
        ),
        (
            with_check(expect=Expectations(wav=Wav(0.2), min_bytes=1024, latency=0.25)),
            "probes.readiness.http.min_bytes: none → 1KiB|"
            "probes.readiness.http.latency: none → 250ms|"
            "probes.readiness.http.wav: none → at least 0.2 s",
        ),
        (
            with_check(notice="tts.notice"),
            "probes.readiness.http.notice: none → tts.notice",
        ),
        (
            with_check(busy="tts.busy"),
            "probes.readiness.http.busy: none → tts.busy",
        ),
        (
            replace(PROBED, readiness=ProbeSpec(HTTP, idle=True)),
            "probes.readiness.when: always → idle",
        ),
        (
            with_check(expect=Expectations(body_prefix="Привіт".encode())),
            "probes.readiness.http.body_prefix: none → Привіт",
        ),
        (
            replace(PROBED, readiness=ProbeSpec(TcpCheck("127.0.0.1", 1), budget=5.5)),
            "probes.readiness.check: GET http://127.0.0.1:3001/health → tcp 127.0.0.1:1|"
            "probes.readiness.for: none → 5.5s",
        ),
        (
            replace(PROBED, readiness=None),
            f"probes.readiness: {'GET http://127.0.0.1:3001/health'} every 10s → none",
        ),
        (
            replace(PROBED, depends_on=(Dependency("db", Condition.STARTED), Dependency("x"))),
            "depends_on.db: ready → started|depends_on.x: none → ready",
        ),
        (
            replace(PROBED, restart=RestartSpec(give_up=GiveUp(9, 7200.0))),
            "restart.give_up.after: 5 → 9|restart.give_up.within: 60s → 2h",
        ),
        (
            replace(PROBED, restart=RestartSpec(give_up=None)),
            "restart.give_up: after 5 within 60s → none",
        ),
        (replace(PROBED, logs=LogSpec(max_size=1000)), "logs.max_size: 10MiB → 1000B"),
        (replace(PROBED, command=("python", "")), "command: python a.py → python ''"),
        (
            replace(PROBED, command=("sh", "-c", "echo 'a' → b")),
            "command: python a.py → sh -c " + """'echo '"'"'a'"'"' → b'""",
        ),
    ],
)
def test_differences_in_words(new: ServiceSpec, said: str) -> None:
    assert "|".join(changed(new, old=PROBED).why) == said


def test_exec_checks_are_compared_as_commands() -> None:
    old = replace(BASE, liveness=ProbeSpec(ExecCheck(("curl", "-u", "me:pw", "http://[::1]:1"))))
    new = replace(BASE, liveness=ProbeSpec(ExecCheck(("curl", "-u", "me:px", "http://[::1]:1"))))
    assert changed(new, old=old).why == (
        f"probes.liveness.exec: curl -u {MASK} http://[::1]:1 → curl -u {CHANGED} http://[::1]:1",
    )


def test_doctors_are_compared_as_commands() -> None:
    old = replace(BASE, doctor=DoctorSpec(("look", "--key", "one")))
    new = replace(BASE, doctor=DoctorSpec(("look", "--key", "two"), timeout=90.0))
    change = changed(new, old=old)
    assert change.kind is ChangeKind.LIVE
    assert change.why == (
        f"doctor.command: look --key {MASK} → look --key {CHANGED}",
        "doctor.timeout: 60s → 90s",
    )


def test_order_alone_is_told_too() -> None:
    a, b = SocketSpec("a", (("::1", 1),)), SocketSpec("b", (("::1", 2),))
    change = changed(replace(BASE, sockets=(b, a)), old=replace(BASE, sockets=(a, b)))
    # The order of held sockets is that of the descriptors the service gets.
    assert change.kind is ChangeKind.RESTART
    assert len(change.why) == 1
    assert change.why[0].startswith("sockets: ")
    same = changed(
        replace(BASE, env={"X": "1", "A": "1"}), old=replace(BASE, env={"A": "1", "X": "1"})
    )
    assert same.kind is ChangeKind.NONE


def test_true_is_not_one_to_a_json_expectation() -> None:
    one = with_check(expect=Expectations(json=(("ok", 1),)))
    true = with_check(expect=Expectations(json=(("ok", True),)))
    assert one == true
    assert changed(true, old=one).why == ("probes.readiness.http.json.ok: 1 → true",)


def test_long_commands_are_cut_to_where_they_differ() -> None:
    long = tuple(f"--option-{n}" for n in range(100))
    old, new = replace(BASE, command=("a", *long, "x")), replace(BASE, command=("a", *long, "y"))
    (line,) = changed(new, old=old).why
    assert len(line) < 120
    assert line.endswith("-99 y")
    assert " x → …" in line


# Any two configurations ----------------------------------------------------------------------

HINTS = get_type_hints(ServiceSpec)
VALUES = {name: values_of(kind) for name, kind in HINTS.items() if name != "name"}


@st.composite
def services(draw: st.DrawFn) -> ServiceSpec:
    """A service of which two fields, at most, have any value that their types allow."""
    some = draw(st.lists(st.sampled_from(list(VALUES)), max_size=2, unique=True))
    return replace(BASE, **{field: draw(VALUES[field]) for field in some})


SPECS = st.dictionaries(st.sampled_from("abc"), services(), max_size=3).map(
    lambda found: {name: replace(spec, name=name) for name, spec in found.items()}
)
ENVIRONMENTS = st.dictionaries(
    st.sampled_from("abc"),
    st.dictionaries(st.sampled_from(["A", "B", "ATLAS_RUN"]), st.text(max_size=5)),
    max_size=3,
)


@given(SPECS, ENVIRONMENTS)
def test_the_same_again_changes_nothing(
    specs: dict[str, ServiceSpec], envs: dict[str, dict[str, str]]
) -> None:
    again = plan(specs, {name: replace(spec) for name, spec in specs.items()}, envs, envs)
    assert again == tuple(Change(name, ChangeKind.NONE) for name in specs)


@given(SPECS, SPECS, ENVIRONMENTS, ENVIRONMENTS)
def test_every_service_is_told_once_and_every_change_has_its_words(
    old: dict[str, ServiceSpec],
    new: dict[str, ServiceSpec],
    running: dict[str, dict[str, str]],
    wanted: dict[str, dict[str, str]],
) -> None:
    changes = masked(plan(old, new, running, wanted))
    assert [change.service for change in changes] == [*new, *(n for n in old if n not in new)]
    for change in changes:
        assert (change.kind is ChangeKind.NONE) == (change.why == ())
        assert all(" → " in line for line in change.why) or change.kind in ("add", "remove")
        if change.kind is ChangeKind.RESTART:
            assert change.service in running
        if change.env:
            assert change.kind is ChangeKind.RESTART
