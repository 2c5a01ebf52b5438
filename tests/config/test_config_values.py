"""Good files: what each spelling becomes."""

import json
import signal
from pathlib import Path

import pytest

from supervisor.config import ConfigError
from supervisor.config.compile import compile_bytes, compile_file
from supervisor.core import notify, spec

REPOSITORY = Path(__file__).parents[2]
FAILED, RECOVERED = notify.Transition.FAILED, notify.Transition.RECOVERED


def _service(yaml: str, **environ: str) -> spec.ServiceSpec:
    text = f"version: 1\nservices:\n  a: {yaml}\n"
    fleet = compile_bytes(text.encode(), "/nowhere/services.yaml", environ)
    return fleet.services[0]


def _http(yaml: str) -> spec.HttpCheck:
    service = _service("{command: [x], ports: [80], probes: {liveness: {http: " + yaml + "}}}")
    assert service.liveness is not None
    assert isinstance(service.liveness.check, spec.HttpCheck)
    return service.liveness.check


def test_the_default_system() -> None:
    fleet = compile_file(str(REPOSITORY / "config" / "services.yaml"), {"HOME": "/home/me"})
    tts = fleet.service("tts")
    assert tts is not None
    assert fleet.root == tts.cwd == str(REPOSITORY)
    assert fleet.state_dir == str(REPOSITORY / ".atlas")
    assert tts.command == ("python", "-m", "services.tts", "--device", "auto")
    assert tts.venv == str(REPOSITORY / ".venv")
    assert tts.env == {
        "PYTORCH_ENABLE_MPS_FALLBACK": "1",
        "TTS_CACHE_DIR": ".cache/tts",
        "PYTHONFAULTHANDLER": "1",
    }
    assert tts.sockets == (spec.SocketSpec("http", (("127.0.0.1", 3001), ("::1", 3001))),)
    assert tts.startup is not None
    assert tts.startup.budget == 120.0
    assert tts.startup.every == 0.25
    assert isinstance(tts.startup.check, spec.HttpCheck)
    assert json.loads(tts.startup.check.body or b"") == {"text": "тест", "return_audio": True}
    fresh = ("Cache-Control", "no-store")
    assert tts.startup.check.headers == (fresh, ("Content-Type", "application/json"))
    assert tts.startup.check.expect.wav == spec.Wav(0.2)
    assert tts.readiness is not None
    assert isinstance(tts.readiness.check, spec.HttpCheck)
    assert tts.readiness.check.expect.json == (("tts_ready", True),)
    assert tts.readiness.check.busy == "busy"
    assert tts.transaction is not None
    assert tts.transaction.check == tts.startup.check
    assert (tts.transaction.every, tts.transaction.timeout) == (300.0, 60.0)
    assert tts.transaction.idle
    assert tts.restart == spec.RestartSpec()
    assert tts.logs == spec.LogSpec()
    assert [rule.name for rule in tts.remedies] == ["mps-operator", "gpu-fault", "device"]
    assert tts.remedies[0].set_env == {"PYTORCH_ENABLE_MPS_FALLBACK": "1"}


def test_the_default_system_takes_port_and_device_from_the_environment() -> None:
    environ = {"TTS_PORT": "4002", "TTS_DEVICE": "cpu"}
    fleet = compile_file(str(REPOSITORY / "config" / "services.yaml"), environ)
    assert fleet.services[0].all_ports() == (4002,)
    assert fleet.services[0].command[-1] == "cpu"


def test_a_service_with_one_key_has_the_defaults_of_the_spec() -> None:
    assert _service("{command: [x]}") == spec.ServiceSpec("a", ("x",), "/nowhere")


def test_every_key_of_a_service() -> None:
    service = _service(
        """
    description: {d}
    command: run 'one word' --flag=a\\ b ""
    cwd: sub/../other
    venv: ~/venv
    env: {{NUMBER: 8080, ZERO: "007", TEXT: plain}}
    env_file: secrets.env
    inherit_env: [DISPLAY, DISPLAY]
    enabled: false
    ports: [81, 81]
    sockets: {{http: "[::1]:3001", all: "0.0.0.0:80"}}
    restart:
      policy: on-failure
      give_up: false
      proven_after: 0s
      backoff: {{first: 1s, factor: 1.5, max: 1m30s, jitter: 0}}
    stop: {{signal: sigint, timeout: 1.5s}}
    depends_on: {{}}
    limits: {{memory: 4GiB, open_files: 4096, processes: 200, nice: -5}}
    umask: "027"
    user: _www
    logs: {{max_size: 1.5MiB, keep: 0, compress: False}}
    probes:
      startup:
        {{exec: "check 'it now'", every: 500ms, timeout: 1m, successes: 2, for: 1h30m}}
      readiness: {{tcp: {{}}, failures: 9, successes: 4}}
      liveness: {{tcp: {{host: localhost, port: 5}}, failures: 7}}
      transaction: {{tcp: {{}}, every: 90s, timeout: 9s, failures: 1, when: always}}
      busy: {{deadline: 1h}}
""".format(d='"two\\nlines"'),
        HOME="/home/me",
    )
    assert service == spec.ServiceSpec(
        name="a",
        description="two\nlines",
        command=("run", "one word", "--flag=a b", ""),
        cwd="/nowhere/other",
        venv="/home/me/venv",
        env={"NUMBER": "8080", "ZERO": "007", "TEXT": "plain"},
        env_files=("/nowhere/secrets.env",),
        inherit_env=("DISPLAY",),
        enabled=False,
        ports=(81,),
        sockets=(
            spec.SocketSpec("http", (("::1", 3001),)),
            spec.SocketSpec("all", (("0.0.0.0", 80),)),
        ),
        restart=spec.RestartSpec("on-failure", spec.Backoff(1.0, 1.5, 90.0, 0.0), None, 0.0),
        stop=spec.StopSpec(int(signal.SIGINT), 1.5),
        logs=spec.LogSpec(1536 * 1024, 0, compress=False),
        limits=spec.Limits(4 * 1024**3, 4096, 200, -5),
        umask=0o027,
        user="_www",
        startup=spec.ProbeSpec(spec.ExecCheck(("check", "it now")), 0.5, 60.0, 3, 2, 5400.0),
        readiness=spec.ProbeSpec(spec.TcpCheck("::1", 3001), failures=9, successes=4),
        liveness=spec.ProbeSpec(spec.TcpCheck("127.0.0.1", 5), failures=7),
        transaction=spec.ProbeSpec(spec.TcpCheck("::1", 3001), 90.0, 9.0, failures=1),
        busy_deadline=3600.0,
    )


def test_a_transaction_is_seldom_patient_and_only_for_the_idle() -> None:
    service = _service("{command: [x], ports: [1], probes: {transaction: {tcp: {}}}}")
    check = spec.TcpCheck("127.0.0.1", 1)
    assert service.transaction == spec.ProbeSpec(check, 300.0, 30.0, failures=2, idle=True)
    assert service.busy_deadline == 600.0


def test_where_a_reply_says_that_it_is_busy() -> None:
    probes = "{readiness: {http: {busy: tts.busy}}, liveness: {http: {busy: queued}}}"
    service = _service("{command: [x], ports: [1], probes: " + probes + "}")
    for probe, path in ((service.readiness, "tts.busy"), (service.liveness, "queued")):
        assert probe is not None
        assert isinstance(probe.check, spec.HttpCheck)
        assert probe.check.busy == path


@pytest.mark.parametrize(
    ("yaml", "bits"),
    [('"022"', 0o22), ("'0077'", 0o77), ('"000"', 0), ('"${MASK:-007}"', 0o7), ('"0${TWO}"', 0o27)],
)
def test_umasks_are_octal(yaml: str, bits: int) -> None:
    assert _service(f"{{command: [x], umask: {yaml}}}", TWO="27").umask == bits


def test_limits_of_defaults_and_service_are_merged_key_by_key() -> None:
    text = b"""version: 1
protected_ports: [4000, 5432, 4000, "${DB:-3306}"]
defaults: {limits: {memory: 1GiB, nice: 5}, umask: "077", user: me}
services:
  a: {command: [x], limits: {nice: 0, processes: 9}}
"""
    fleet = compile_bytes(text, "/f.yaml", {})
    (a,) = fleet.services
    assert (a.limits, a.umask, a.user) == (spec.Limits(1024**3, None, 9, 0), 0o77, "me")
    assert fleet.protected_ports == (4000, 5432, 3306)


def test_a_probe_may_ask_at_a_protected_port() -> None:
    text = b"""version: 1
protected_ports: [4000]
services:
  a: {command: [x], probes: {liveness: {tcp: {port: 4000}}}}
"""
    assert compile_bytes(text, "/f.yaml", {}).protected_ports == (4000,)


def test_a_startup_probe_always_has_a_bound() -> None:
    probe = _service("{command: [x], ports: [1], probes: {startup: {tcp: {}}}}").startup
    assert probe is not None
    assert probe.budget == 60.0


@pytest.mark.parametrize(
    ("yaml", "expected"),
    [
        ("[db]", (spec.Dependency("db"),)),
        ("{db: ready}", (spec.Dependency("db", spec.Condition.READY),)),
        ("{db: started}", (spec.Dependency("db", spec.Condition.STARTED),)),
        ("{db: {condition: completed}}", (spec.Dependency("db", spec.Condition.COMPLETED),)),
        ("{db: {}}", (spec.Dependency("db"),)),
        ('{db: "${HOW:-started}"}', (spec.Dependency("db", spec.Condition.STARTED),)),
    ],
)
def test_dependencies(yaml: str, expected: tuple[spec.Dependency, ...]) -> None:
    text = f"""version: 1
services:
  a: {{command: [x], depends_on: {yaml}}}
  db: {{command: [x], restart: {{policy: never}}}}
"""
    assert compile_bytes(text.encode(), "/f.yaml", {}).services[0].depends_on == expected


@pytest.mark.parametrize(
    ("yaml", "expected"),
    [
        ("200", ((200, 200),)),
        ("2xx", ((200, 299),)),
        ("200-204", ((200, 204),)),
        ('[200, "404", 5XX]', ((200, 200), (404, 404), (500, 599))),
    ],
)
def test_status(yaml: str, expected: tuple[tuple[int, int], ...]) -> None:
    assert _http("{status: " + yaml + "}").expect.status == expected


@pytest.mark.parametrize(
    ("yaml", "expected"),
    [
        ("{tts_ready: true}", (("tts_ready", True),)),
        ("{a: {b: [1, {c: x}]}}", (("a.b.0", 1), ("a.b.1.c", "x"))),
        (
            '{a.b: 1.5, n: null, s: "1", z: "${X:-yes}"}',
            (("a.b", 1.5), ("n", None), ("s", "1"), ("z", "yes")),
        ),
    ],
)
def test_json_expectations(yaml: str, expected: tuple[tuple[str, object], ...]) -> None:
    got = _http("{json: " + yaml + "}").expect.json
    assert got == expected
    assert [type(value) for _, value in got] == [type(value) for _, value in expected]


@pytest.mark.parametrize(
    ("yaml", "headers", "body"),
    [
        (
            "{a: [1, 1.5, true, null, тест]}",
            ("Content-Type",),
            '{"a": [1, 1.5, true, null, "тест"]}',
        ),
        ("plain текст", (), "plain текст"),
        ("[]", ("Content-Type",), "[]"),
        ('""', (), ""),
    ],
)
def test_bodies(yaml: str, headers: tuple[str, ...], body: str) -> None:
    check = _http("{method: POST, body: " + yaml + "}")
    assert check.body == body.encode()
    assert tuple(name for name, _ in check.headers) == headers


def test_a_content_type_of_ones_own_is_kept() -> None:
    check = _http("{method: PUT, headers: {content-type: application/x}, body: {a: 1}}")
    assert check.headers == (("content-type", "application/x"),)


@pytest.mark.parametrize(
    ("service", "target"),
    [
        (
            'sockets: {h: "localhost:9"}, ports: [8], probes: {liveness: {http: {}}}',
            ("127.0.0.1", 9, "/"),
        ),
        ('sockets: {h: "0.0.0.0:9"}, probes: {liveness: {http: {}}}', ("127.0.0.1", 9, "/")),
        ('sockets: {h: "[::]:9"}, probes: {liveness: {http: {}}}', ("::1", 9, "/")),
        ('sockets: {h: "[::1]:9"}, probes: {liveness: {http: {port: 9}}}', ("::1", 9, "/")),
        ("ports: [8, 7], probes: {liveness: {http: {path: /x?y=1}}}", ("127.0.0.1", 8, "/x?y=1")),
        ("ports: [8], probes: {liveness: {http: {port: 7}}}", ("127.0.0.1", 7, "/")),
        ('probes: {liveness: {http: {url: "http://localhost/a?b"}}}', ("127.0.0.1", 80, "/a?b")),
        ('probes: {liveness: {http: {url: "http://[::1]:8"}}}', ("::1", 8, "/")),
    ],
)
def test_targets(service: str, target: tuple[str, int, str]) -> None:
    probe = _service("{command: [x], " + service + "}").liveness
    assert probe is not None
    assert isinstance(probe.check, spec.HttpCheck)
    assert (probe.check.host, probe.check.port, probe.check.path) == target


def test_defaults_lie_under_each_service() -> None:
    text = b"""version: 1
defaults:
  env: {A: below, B: below}
  stop: {signal: INT, timeout: 3s}
  inherit_env: [X]
services:
  a: {command: [x]}
  b: {command: [x], env: {B: own}, stop: {timeout: 4s}, inherit_env: []}
"""
    a, b = compile_bytes(text, "/f.yaml", {}).services
    assert (a.env, a.stop, a.inherit_env) == (
        {"A": "below", "B": "below"},
        spec.StopSpec(int(signal.SIGINT), 3.0),
        ("X",),
    )
    assert (b.env, b.stop, b.inherit_env) == (
        {"A": "below", "B": "own"},
        spec.StopSpec(int(signal.SIGINT), 4.0),
        (),
    )


def test_variables_come_from_the_environment_over_the_env_file(tmp_path: Path) -> None:
    config = tmp_path / "services.yaml"
    config.write_text('version: 1\nservices: {a: {command: [x, "${ONE}", "${TWO}"]}}\n')
    (tmp_path / ".env").write_text("ONE=file\nTWO=file\n")
    assert compile_file(str(config), {"ONE": "own"}).services[0].command == ("x", "own", "file")
    (tmp_path / "other").write_text("TWO=other\n")
    config.write_text(
        'version: 1\nenv_file: [.env, "${NAME}"]\n'
        'services: {a: {command: [x, "${ONE}", "${TWO}"]}}\n'
    )
    read = compile_file(str(config), {"NAME": "other"})
    assert read.services[0].command == ("x", "file", "other")


def test_variables_of_the_env_file_do_not_reach_a_service(tmp_path: Path) -> None:
    config = tmp_path / "services.yaml"
    config.write_text("version: 1\nservices: {a: {command: [x]}}\n")
    (tmp_path / ".env").write_text("SECRET=1\n")
    assert compile_file(str(config), {}).services[0].env == {}


def test_a_bad_env_file_is_told_together_with_the_rest(tmp_path: Path) -> None:
    config = tmp_path / "services.yaml"
    config.write_text("version: 1\nservices: {a: {comand: [x]}}\n")
    (tmp_path / ".env").write_text("nonsense\n")
    with pytest.raises(ConfigError) as caught:
        compile_file(str(config), {})
    assert [Path(p.file).name for p in caught.value.problems] == [".env", *["services.yaml"] * 2]


@pytest.mark.parametrize(
    "value", ["a, b]", "x: y", "[1", "- a", "yes", "#c", "'", "two words", "$$", "${Y}"]
)
def test_what_is_put_in_stays_one_text(value: str) -> None:
    service = _service('{command: [x, "${V}"], env: {A: "${V}"}, ports: []}', V=value)
    assert service.command == ("x", value)
    assert service.env == {"A": value}
    assert _service('{command: "x ${V} y"}', V=value).command == ("x", value, "y")


def test_a_disabled_service_may_wait_for_a_disabled_one() -> None:
    text = b"""version: 1
services:
  a: {command: [x], enabled: false}
  b: {command: [x], enabled: false, depends_on: [a]}
"""
    assert compile_bytes(text, "/f.yaml", {}).services[1].depends_on == (spec.Dependency("a"),)


def _notify(yaml: str, **environ: str) -> tuple[notify.Target, ...]:
    text = f"version: 1\nservices: {{a: {{command: [x]}}}}\nnotify: {yaml}\n"
    return compile_bytes(text.encode(), "/nowhere/services.yaml", environ).notify


def test_who_is_told_of_what() -> None:
    assert _notify("[{desktop: true}]") == (
        notify.Target("desktop", notify.Desktop(), (FAILED, RECOVERED), None),
    )
    assert _notify('[{webhook: "${U}", when: hung, services: a}]', U="https://h/x?y=z") == (
        notify.Target(
            "webhook", notify.Webhook("https://h/x?y=z"), (notify.Transition.HUNG,), ("a",)
        ),
    )
    phone, say = _notify(
        "[{name: phone, when: [failed, failed], services: [a, a], webhook: {url: http://h, "
        'headers: {X: "${T}"}, timeout: 3s, format: slack}}, {command: say "it failed"}]',
        T="secret",
    )
    webhook = notify.Webhook("http://h", {"X": "secret"}, 3.0, "slack")
    assert phone == notify.Target("phone", webhook, (FAILED,), ("a",))
    assert say == notify.Target("command", notify.Hook(("say", "it failed"), 10.0))


def test_targets_without_a_name_get_one_that_is_free() -> None:
    named = _notify("[{desktop: true}, {name: desktop-2, desktop: true}, {desktop: true}]")
    assert [target.name for target in named] == ["desktop", "desktop-2", "desktop-3"]


def test_a_file_for_prometheus() -> None:
    for yaml, expected in (
        ("m/a.prom", notify.MetricsFile("/nowhere/m/a.prom", 15.0)),
        ("{file: /x.prom, every: 1m}", notify.MetricsFile("/x.prom", 60.0)),
    ):
        text = f"version: 1\nservices: {{}}\nmetrics: {yaml}\n"
        assert compile_bytes(text.encode(), "/nowhere/services.yaml", {}).metrics == expected
