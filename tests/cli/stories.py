"""What journals hold after well-known mishaps: the words are those that the core writes."""

NOON = 1_785_000_000.0

Line = tuple[float, str, str, int | None]
"""Time, topic, text, run."""

START: list[Line] = [
    (NOON - 4000, "asked", "start asked: the daemon starts", None),
    (NOON - 3999.9, "started", "run 3 started, pid 100", 3),
    (NOON - 3998, "ready", "startup probe: 200 OK, WAV of 0.41 s", 3),
]
CRASH: list[Line] = [
    (NOON - 122.2, "exited", "was killed by signal 9 (SIGKILL)", 3),
    (
        NOON - 122.2,
        "restarting",
        "was killed by signal 9 (SIGKILL); restart 1 in 0.2 s (failure 1 in a row)",
        3,
    ),
    (NOON - 122.0, "started", "run 4 started, pid 101", 4),
    (NOON - 120.0, "ready", "startup probe: 200 OK, WAV of 0.41 s", 4),
]
HUNG = "failed its liveness probe 3 times in a row: no answer within 3 s"
HANG: list[Line] = [
    (NOON - 20, "probe-failed", "liveness probe: no answer within 3 s", 4),
    (NOON - 10, "stopping", HUNG, 4),
    (
        NOON - 9.8,
        "dumped",
        "hung in generate (services/tts/engines/ukrainian.py:212); more in logs/tts.dump-4.txt",
        4,
    ),
    (
        NOON - 5,
        "killed",
        "did not end within 5 s of signal 15 (SIGTERM): SIGKILL to the whole tree",
        4,
    ),
    (NOON - 5, "exited", "was killed by signal 9 (SIGKILL)", 4),
    (NOON - 5, "restarting", f"{HUNG}; restart 2 in 0.2 s (failure 1 in a row)", 4),
]


def crash_loop(runs: int, *, code: int = 1, first: int = 1, at: float = NOON - 300) -> list[Line]:
    """Return runs that start and exit at once, each a bit later than the one before."""
    lines: list[Line] = []
    words = f"exited with code {code}"
    for run in range(first, first + runs):
        at += min(30.0, 0.2 * 2 ** (run - first))
        lines.append((at, "started", f"run {run} started, pid {100 + run}", run))
        lines.append((at + 0.05, "exited", words, run))
        delay = min(30.0, 0.2 * 2 ** (run - first + 1))
        text = f"{words}; restart {run} in {delay:.2g} s (failure {run} in a row)"
        lines.append((at + 0.05, "restarting", text, run))
    return lines
