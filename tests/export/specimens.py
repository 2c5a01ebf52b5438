"""Systems to export: the one of the golden files, and one service with everything."""

from dataclasses import replace

from supervisor.core.models import ModelFile, ModelSpec
from supervisor.core.notify import MetricsFile
from supervisor.core.spec import (
    Backoff,
    Condition,
    Dependency,
    DoctorSpec,
    ExecCheck,
    Expectations,
    FleetSpec,
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
from supervisor.export.exported import Request

SECRET = "hunter2-and-more"

PLAIN = ServiceSpec(name="plain", command=("serve",), cwd="/srv/atlas")

SPEAKS = HttpCheck(
    "127.0.0.1",
    3001,
    "/tts",
    "POST",
    headers=(("Content-Type", "application/json"),),
    body='{"text": "тест", "return_audio": true}'.encode(),
    expect=Expectations(content_type="audio/wav", wav=Wav(0.2)),
)
STARTUP = ProbeSpec(SPEAKS, every=0.25, timeout=30.0, budget=120.0)
HEALTH = HttpCheck("127.0.0.1", 3001, "/health")
LIVENESS = ProbeSpec(HEALTH, every=5.0, timeout=3.0)

SPEECH = ServiceSpec(
    name="tts",
    description="Ukrainian text to speech",
    command=("python", "-m", "services.tts", "--device", "auto"),
    cwd="/srv/atlas",
    venv="/srv/atlas/.venv",
    env={"TTS_CACHE_DIR": ".cache/tts", "HF_TOKEN": SECRET, "MODE": "y"},
    sockets=(SocketSpec("http", (("127.0.0.1", 3001), ("::1", 3001))),),
    startup=STARTUP,
    readiness=ProbeSpec(
        HttpCheck(
            "127.0.0.1",
            3001,
            "/health",
            expect=Expectations(json=(("tts_ready", True),)),
            notice="notice",
            busy="busy",
        ),
        every=5.0,
    ),
    liveness=LIVENESS,
    transaction=ProbeSpec(SPEAKS, every=300.0, timeout=60.0, failures=2, idle=True),
    doctor=DoctorSpec(("python", "-m", "services.tts", "--doctor")),
    limits=Limits(memory=2**30),
)

SERVER = ServiceSpec(
    name="api_server",
    description="asks tts",
    command=("./bin/api", "--host", "127.0.0.1", "--port=8080", "--say", "100 % of $HOME; done"),
    cwd="/srv/atlas/api",
    env={"TTS_URL": "http://127.0.0.1:3001/tts", "NUMBER": "1e3", "TEXT": "two\nlines"},
    env_files=("/srv/atlas/api/private.env",),
    ports=(8080, 9090),
    readiness=ProbeSpec(TcpCheck("127.0.0.1", 8080), successes=2),
    liveness=ProbeSpec(ExecCheck(("./bin/api", "alive", "$X"))),
    restart=RestartSpec("on-failure", Backoff(first=1.5), GiveUp(3, 30.0)),
    stop=StopSpec(signal=2, timeout=2.5),
    depends_on=(Dependency("tts"), Dependency("migrate", Condition.COMPLETED)),
    limits=Limits(open_files=4096, processes=64, nice=5),
    umask=0o027,
)

TASK = ServiceSpec(
    name="migrate",
    command=("/srv/atlas/bin/migrate", "--once"),
    cwd="/srv/atlas",
    restart=RestartSpec("never"),
)

FLEET = FleetSpec(
    source="/srv/atlas/config/services.yaml",
    root="/srv/atlas",
    state_dir="/srv/atlas/.atlas",
    logs_dir="/srv/atlas/logs",
    services=(SPEECH, SERVER, TASK),
    models=(
        ModelSpec("voice", "https://example.org/v", (ModelFile("a"),), "/srv/atlas/models/voice"),
    ),
    metrics=MetricsFile("/srv/atlas/metrics.prom"),
)

REQUEST = Request(
    fleet=FLEET,
    services=FLEET.services,
    command="atlasctl export FORMAT",
    files={"api_server": {"DB_URL": "postgres://db/x", "TEXT": "of the file"}},
    inherited={"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "uk_UA.UTF-8", "EDITOR": "vi"},
    python="/srv/atlas/.venv/bin/python",
)

EVERYTHING = replace(
    SERVER,
    inherit_env=("EDITOR",),
    venv="/srv/atlas/.venv",
    sockets=(SocketSpec("http", (("127.0.0.1", 3001),)),),
    startup=STARTUP,
    transaction=SPEECH.transaction,
    busy_deadline=60.0,
    doctor=SPEECH.doctor,
    restart=RestartSpec("always", Backoff(first=1.5), GiveUp(3, 30.0), 20.0),
    limits=Limits(memory=2**30, open_files=4096, processes=64, nice=5),
    logs=LogSpec(keep=1),
    user="nobody",
    remedies=(Remedy("gpu", OutputTrigger("*out of memory"), restart=True),),
    enabled=False,
)
"""A service in which no field has its default."""


def request(*services: ServiceSpec, **changed: object) -> Request:
    """Return a request for these services of a system with no others."""
    fleet = replace(FLEET, services=services, models=(), metrics=None)
    made = replace(REQUEST, fleet=fleet, services=services, files={})
    return replace(made, **changed)  # type: ignore[arg-type]
