"""What podman_run.sh does with a pod that runs: `podman_story.py YAML CONTAINER`."""

import io
import json
import subprocess
import sys
import time
import urllib.request
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

DEADLINE = 120.0


def main(file: str, name: str) -> None:
    """Ask its probes, speak through it, kill it, and do so again."""
    probes = probes_of(Path(file))
    assert set(probes) == {"startupProbe", "readinessProbe", "livenessProbe"}
    url = url_of(name, Path(file))
    started = time.monotonic()
    for kind, command in probes.items():
        eventually(f"the {kind} succeeds", lambda asked=command: probe(name, asked) == 0)  # type: ignore[misc]
    tell(f"its probes succeed {time.monotonic() - started:.1f} s after it was played")
    eventually("podman's own look succeeds", lambda: podman_healthcheck(name))
    tell("podman runs the liveness probe itself: healthy")
    tell(f"it says {speak(url):.2f} s of speech to a neighbour, at {url}")
    inspect(name)

    before = state(name)
    # Not through podman, to which that would be a stop.
    subprocess.run(["kill", "-9", str(before["Pid"])], check=True)
    started = time.monotonic()
    eventually("it runs again", lambda: is_another(state(name), before["Pid"]))
    eventually("it is ready again", lambda: probe(name, probes["readinessProbe"]) == 0)
    tell(f"killed, it is ready again after {time.monotonic() - started:.1f} s")
    url = url_of(name, Path(file))
    tell(f"it says {speak(url):.2f} s of speech again")

    # A server that answers nothing: the probe must say so, or it would prove nothing.
    subprocess.run(["kill", "-STOP", str(state(name)["Pid"])], check=True)
    assert probe(name, probes["livenessProbe"]) == 1
    assert not podman_healthcheck(name)
    subprocess.run(["kill", "-CONT", str(state(name)["Pid"])], check=True)
    eventually("it is alive again", lambda: probe(name, probes["livenessProbe"]) == 0)
    tell("stopped by SIGSTOP it fails its liveness probe, and recovers")

    # The word is spoken, and is not what it must be: that is found only by asking for it.
    asked = questions_of(Path(file)).replace('"min_seconds": 0.2', '"min_seconds": 99')
    assert '"min_seconds": 99' in asked
    write = ["podman", "exec", "--interactive", name, "sh", "-c", "cat >/tmp/other.json"]
    subprocess.run(write, input=asked.encode(), check=True)
    assert probe(name, [*probes["livenessProbe"][:-1], "/tmp/other.json"]) == 1
    assert probe(name, probes["livenessProbe"]) == 0
    tell("a transaction that brings too little sound fails the liveness probe")

    started = time.monotonic()
    podman("stop", "--time", "15", name)
    ended = state(name)
    assert ended["ExitCode"] == 0, ended
    tell(f"SIGTERM: it ends with code 0 after {time.monotonic() - started:.1f} s")


def container_of(file: Path) -> dict[str, Any]:
    """Return the one container in the file."""
    documents = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
    deployment = next(each for each in documents if each["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(container)


def questions_of(file: Path) -> str:
    """Return what its liveness probe asks."""
    documents = yaml.safe_load_all(file.read_text(encoding="utf-8"))
    found = next(each for each in documents if each["metadata"]["name"].endswith("-probes"))
    return str(found["data"]["liveness.json"])


def probes_of(file: Path) -> dict[str, list[str]]:
    """Return the commands of its probes."""
    return {
        key: value["exec"]["command"]
        for key, value in container_of(file).items()
        if key.endswith("Probe")
    }


def url_of(name: str, file: Path) -> str:
    """Return where its neighbours reach it."""
    return f"http://{address(name)}:{container_of(file)['ports'][0]['containerPort']}"


def podman(*words: str) -> str:
    """Return what podman prints."""
    done = subprocess.run(["podman", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"podman {words}: {done.stderr}"
    return done.stdout.strip()


def probe(name: str, command: list[str]) -> int:
    """Run a probe's command in the container, as a kubelet does."""
    done = subprocess.run(["podman", "exec", name, *command], capture_output=True, check=False)
    return done.returncode


def podman_healthcheck(name: str) -> bool:
    """Let podman run the liveness probe, as it read it from the YAML."""
    done = subprocess.run(
        ["podman", "healthcheck", "run", name], capture_output=True, text=True, check=False
    )
    return done.returncode == 0


def state(name: str) -> dict[str, Any]:
    """Return the container's state."""
    found: dict[str, Any] = json.loads(podman("inspect", name, "--format", "{{json .State}}"))
    return found


def is_another(now: dict[str, Any], pid: int) -> bool:
    """Tell whether the container runs, and not the process of before."""
    return now["Status"] == "running" and now["Pid"] not in (0, pid)


def address(name: str) -> str:
    """Return the address of the container's pod, at which its neighbours reach it."""
    pod = podman("inspect", name, "--format", "{{.Pod}}")
    infra = podman("pod", "inspect", pod, "--format", "{{.InfraContainerID}}")
    networks = json.loads(
        podman("inspect", infra, "--format", "{{json .NetworkSettings.Networks}}")
    )
    return str(next(iter(networks.values()))["IPAddress"])


def speak(url: str) -> float:
    """Return the seconds of speech that come back for a word."""
    request = urllib.request.Request(  # noqa: S310
        f"{url}/tts",
        json.dumps({"text": "добрий день", "return_audio": True}).encode(),
        {"Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as reply:
        assert reply.headers.get_content_type() == "audio/wav"
        body = reply.read()
    with wave.open(io.BytesIO(body)) as sound:
        seconds = float(sound.getnframes() / sound.getframerate())
    assert seconds > 0.3
    return seconds


def inspect(name: str) -> None:
    """Look at what the container may do."""
    host = json.loads(podman("inspect", name, "--format", "{{json .HostConfig}}"))
    assert host["ReadonlyRootfs"]
    who = podman("exec", name, "sh", "-c", "id -u; touch /app/x 2>/dev/null || echo refused")
    assert who.split() == ["10001", "refused"]
    podman("exec", name, "sh", "-c", "touch /tmp/x && touch /app/.cache/tts/x")
    # Not pid 1 itself: that is the pod's, and reaps what others leave.
    first = podman("exec", name, "cat", "/proc/1/comm")
    assert "python" not in first, first
    tell(f"it is user 10001 on a read-only root; pid 1 is {first}")


def eventually(what: str, holds: Callable[[], bool]) -> None:
    """Wait until something holds, or fail."""
    ends = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < ends, f"not within {DEADLINE:g} s: {what}"
        time.sleep(0.2)  # podman has nothing to wait on for this


def tell(text: str) -> None:
    """Print a line of the story."""
    print(f"   {text}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
