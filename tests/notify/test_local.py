"""Commands and the screen: texts are data, whatever is in them, and every wait has an end."""

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from supervisor.core.notify import Hook
from supervisor.notify.delivery import surroundings
from supervisor.notify.errand import PACKAGE
from supervisor.notify.local import no_desktop, run_hook, show
from supervisor.notify.outcome import Delivered, Missed
from tests.notify.letters import letter

HOSTILE = 'it\'s "quoted" `id` $(touch x) <b>&amp;</b> \\ 🔥 -x\nend run'
RECORDS = """#!{python}
import json, os, sys
with open({record!r}, "w") as file:
    json.dump({{"argv": sys.argv[1:], "env": dict(os.environ), "stdin": sys.stdin.read()}}, file)
"""


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "record.json"


def program(folder: Path, name: str, record: Path) -> Mapping[str, str]:
    """Put a program of this name on a PATH of its own; it records how it was called."""
    path = folder / name
    path.write_text(RECORDS.format(python=sys.executable, record=str(record)))
    path.chmod(0o755)
    return {"PATH": str(folder)}


def test_notify_send_gets_the_text_as_arguments(tmp_path: Path, record: Path) -> None:
    environ = program(tmp_path, "notify-send", record)
    outcome = show(letter(text=HOSTILE), environ, "linux")
    assert outcome == Delivered("notify-send exited with code 0")
    argv = json.loads(record.read_text())["argv"]
    assert argv[:6] == ["-a", "atlasctl", "-u", "critical", "--", "tts failed"]
    assert argv[6] == (
        'tts failed: it\'s "quoted" `id` $(touch x) &lt;b&gt;&amp;amp;&lt;/b&gt; \\ 🔥 -x end run'
    )
    assert len(argv) == 7


def test_osascript_gets_the_text_as_arguments_of_a_fixed_script(
    tmp_path: Path, record: Path
) -> None:
    environ = program(tmp_path, "osascript", record)
    scripts = set()
    for text in (HOSTILE, 'x" & (do shell script "id") & "'):
        assert isinstance(show(letter(text=text), environ, "darwin"), Delivered)
        option, script, heading, told = json.loads(record.read_text())["argv"]
        scripts.add((option, script))
        assert heading == "tts failed"
        assert told == "tts failed: " + text.replace("\n", " ")
    ((option, script),) = scripts
    assert option == "-e"
    assert "on run argv" in script


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_without_such_a_program_it_is_said_why(tmp_path: Path, platform: str) -> None:
    outcome = show(letter(), {"PATH": str(tmp_path)}, platform)
    assert outcome == Missed(no_desktop(platform), again=False)


def test_a_hook_finds_words_in_its_environment_and_data_on_stdin(
    tmp_path: Path, record: Path
) -> None:
    program(tmp_path, "hook", record)
    hook = Hook(("./hook", "an argument"))
    outcome = run_hook(hook, letter(text=HOSTILE), "mac", {"KEPT": "yes"}, str(tmp_path))
    assert outcome == Delivered("hook exited with code 0")
    found = json.loads(record.read_text())
    assert found["argv"] == ["an argument"]
    assert found["env"]["KEPT"] == "yes"
    assert found["env"]["ATLAS_EVENT"] == "failed"
    assert found["env"]["ATLAS_SERVICE"] == "tts"
    assert found["env"]["ATLAS_SUMMARY"].startswith("tts failed: it's")
    assert json.loads(found["stdin"])["service"] == "tts"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'no such\ndevice' >&2; exit 7", "sh exited with code 7: no such device"),
        ("kill -9 $$", "sh was killed by signal 9 (SIGKILL)"),
        ("exit 1", "sh exited with code 1"),
        ("yes | head -c 3000000; exit 1", "sh exited with code 1: y y y"),
    ],
)
def test_a_hook_that_fails(script: str, words: str) -> None:
    outcome = run_hook(Hook(("sh", "-c", script)), letter(), "mac", dict(os.environ))
    assert isinstance(outcome, Missed)
    assert outcome.again
    assert outcome.words.startswith(words)
    assert len(outcome.words) < 300


def test_a_hook_that_is_not_there() -> None:
    outcome = run_hook(Hook(("no-such-program",)), letter(), "mac", dict(os.environ))
    assert outcome == Missed(
        "no-such-program cannot be run: No such file or directory", again=False
    )


def test_a_hook_that_does_not_end_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 1000 & echo $$ $! >{pids}.new; mv {pids}.new {pids}; wait"
    # As long as it needs to come to its child, whatever the machine's speed.
    for limit in (0.3, 3.0, 30.0):
        outcome = run_hook(Hook(("sh", "-c", script), limit), letter(), "mac", dict(os.environ))
        assert outcome == Missed(f"sh did not end within {limit:g} s", again=True)
        if pids.exists():
            break
    # It is init who waits for the second, and SIGKILL takes its moment.
    deadline = time.monotonic() + 30
    for pid in map(int, pids.read_text().split()):
        while _lives(pid):
            assert time.monotonic() < deadline, f"{pid} lives"


def test_what_a_hook_leaves_behind_is_not_waited_for(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 1000 & echo $! >{pids}; echo done"
    outcome = run_hook(Hook(("sh", "-c", script), 30.0), letter(), "mac", dict(os.environ))
    assert outcome == Delivered("sh exited with code 0")
    os.kill(int(pids.read_text()), signal.SIGKILL)


def test_a_hook_that_reads_nothing_is_no_trouble() -> None:
    assert isinstance(run_hook(Hook(("true",)), letter(), "mac", dict(os.environ)), Delivered)


def test_commands_do_not_inherit_what_the_courier_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", PACKAGE)
    assert "PYTHONPATH" not in surroundings()
    monkeypatch.setenv("PYTHONPATH", "/somewhere/else")
    assert surroundings()["PYTHONPATH"] == "/somewhere/else"


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except OSError:
        return False
    return state not in "ZX"
