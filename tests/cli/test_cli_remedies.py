"""`remedies`: what is shown with and without a supervisor, and what would have been done."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from supervisor.cli.rehearsal import Rehearsed
from supervisor.cli.remedy_lines import forgotten, rehearsed_lines, treated_lines
from supervisor.cli.terminal import PLAIN
from supervisor.config.compile import compile_file
from supervisor.control.messages import RemedyStatus, TreatedService
from supervisor.core.remedy import Chart, mark
from supervisor.ledger import Ledger, Record
from supervisor.posix.identity import boot_id
from tests.cli.conftest import Golden
from tests.cli.fake_daemon import FakeDaemon, write_journal
from tests.cli.fleets import Ctl, journal, service

YAML = """\
version: 1
services:
  tts:
    command: [sleep, "1000"]
    probes: {liveness: {tcp: {port: 80}}}
    remedies:
      - name: mps
        when: {output: "for the * device"}
        do: {set_env: {FALLBACK: "1", API_TOKEN: "sk-live-0123456789"}, restart: true}
      - {when: {exit: [78]}, do: {give_up: see config.toml}}
      - {when: {exit: [SIGSEGV, 137]}, do: {restart: true}, dry_run: true}
      - {when: {probe: liveness, failed: 3, says: "*refused"}, do: {run: {command: rm x}}}
      - {when: {probe: liveness}, do: {restart: true}}
  stt: {command: [sleep, "1000"]}
"""


def rule(name: str = "mps", **changes: object) -> RemedyStatus:
    made: RemedyStatus = {
        "name": name,
        "when": 'it prints "for the * device"',
        "do": "set FALLBACK=1, restart it",
        "limit": "3 times within 1 h",
        "dry_run": False,
        "uses": 0,
        "age": None,
        "used_up": False,
        "in_force": False,
    }
    return {**made, **changes}  # type: ignore[typeddict-item]


TTS: TreatedService = {
    "service": "tts",
    "rules": [
        rule(uses=1, age=125.4, in_force=True),
        rule("earlier", in_force=True),
        rule("never", when="it exits with code 78", do="give up: see config.toml"),
        rule("in vain", uses=3, age=3.0, used_up=True),
        rule("tried", dry_run=True, uses=2, age=0.2),
        rule("to be tried", dry_run=True),
        rule("odd", when="it prints \x1b[2J"),
    ],
    "pending": True,
}
STT: TreatedService = {"service": "stt", "rules": [], "pending": False}


def test_rules_and_what_came_of_them(golden: Golden) -> None:
    golden("remedies.txt", treated_lines([TTS, STT], PLAIN))
    assert treated_lines([], PLAIN) == [
        "no remedies are configured; what they are: docs/remedies.md"
    ]


def test_what_rules_would_have_done(golden: Golden) -> None:
    called = Rehearsed(
        "tts", "mps", 'it prints "a"', "restart it", 2, 'it printed "a \x1b[2J"', None, False
    )
    idle = Rehearsed("tts", "code", "it exits with code 78", "restart it", 0, "", None, False)
    lines = rehearsed_lines([called, idle], PLAIN)
    golden("remedies_dry_run.txt", lines)
    assert rehearsed_lines([], PLAIN)[0].startswith("no remedies")


def test_what_was_forgotten() -> None:
    assert forgotten({"tts": ["mps", "cpu"], "stt": []}) == [
        "tts: mps, cpu no longer in force from its next start on: atlasctl restart tts",
        "stt: nothing was in force; limits begin anew",
    ]


def test_the_supervisor_is_asked(root: Path, ctl: Ctl) -> None:
    with FakeDaemon(root, [service("tts"), service("stt")]) as daemon:
        daemon.treated = [TTS, STT]
        code, out, err = ctl("remedies")
        assert (code, err) == (0, "")
        assert out.splitlines()[:2] == [
            "tts",
            "  mps: in force; applied once, 2 min 5 s ago; at most 3 times within 1 h",
        ]
        assert "stt" not in out
        assert "no remedies" in ctl("remedies", "stt")[1]
        assert json.loads(ctl("remedies", "--json")[1]) == {"services": [TTS, STT]}
        code, _, err = ctl("remedies", "tss")
        assert (code, "did you mean tts?" in err) == (2, True)


def test_without_a_supervisor_the_last_ones_notes_are_read(root: Path, ctl: Ctl) -> None:
    spec = compile_file(str(root / "services.yaml"), {}).services[0]
    assert "mps: not applied" in ctl("remedies")[1]
    (root / ".atlas").mkdir(mode=0o700)
    healed = Record(
        "tts",
        2,
        wanted=True,
        boot=boot_id(),
        in_force=("mps",),
        of_run=("mps",),
        rests_on=mark(spec, Chart(in_force=("mps",))),
        uses={"mps": (time.monotonic() - 60,)},
    )
    _write_down(root, healed)
    assert "mps: in force; applied once" in ctl("remedies")[1]
    _write_down(root, replace(healed, boot="another"))
    assert "mps: in force; applied earlier" in ctl("remedies")[1]
    yaml = (root / "services.yaml").read_text()
    (root / "services.yaml").write_text(yaml.replace('FALLBACK: "1"', 'FALLBACK: "2"'))
    assert "mps: not applied" in ctl("remedies")[1], "it was edited"


def _write_down(root: Path, record: Record) -> None:
    book = Ledger(str(root / ".atlas"))
    book.put(record)
    book.close()


@pytest.mark.parametrize("text", ["x for the MPS device", "x \x1b[31mfor the\x1b[0m MPS device"])
def test_a_dry_run_looks_at_the_log(root: Path, ctl: Ctl, text: str) -> None:
    (root / "logs").mkdir()
    (root / "logs" / "tts.log").write_text(f"{text}\nall is well\n{text} sk-live-0123456789\n")
    code, out, err = ctl("remedies", "--dry-run")
    assert (code, err) == (0, "")
    assert "mps: would have been called for twice" in out
    assert "then: set FALLBACK=1 API_TOKEN=••••, restart it" in out
    assert "sk-live" not in out
    assert "stt" not in out


def test_a_dry_run_looks_at_the_journal(root: Path, ctl: Ctl) -> None:
    write_journal(
        root,
        journal(
            "tts",
            (1.0, "exited", "exited with code 1", 1),
            (2.0, "exited", "was killed by signal 11 (SIGSEGV) and dumped core", 2),
            (3.0, "exited", "exited with code 137 (a child of it was perhaps killed by signal 9"
             " (SIGKILL))", 3),
            (4.0, "probe-failed", "liveness probe: connection refused", 4),
            (5.0, "stopping", "failed its liveness probe 3 times in a row: connection refused", 4),
            (6.0, "unready", "readiness probe failed 3 times in a row: connection refused", 5),
            (7.0, "stopping", "failed its liveness probe 3 times in a row: 503", 5),
        ),
    )  # fmt: skip
    found = json.loads(ctl("remedies", "--dry-run", "--json", "tts")[1])["rules"]
    assert {each["rule"]: (each["count"], each["at"]) for each in found} == {
        "mps": (0, None),
        "remedy 2": (0, None),
        "remedy 3": (2, 3.0),
        "remedy 4": (1, 5.0),
        "remedy 5": (3, 7.0),
    }


def test_to_forget_names_a_service_and_needs_a_supervisor(root: Path, ctl: Ctl) -> None:
    assert ctl("remedies", "--forget")[0] == 2
    assert ctl("remedies", "--forget", "--dry-run", "tts")[0] == 2
    assert ctl("remedies", "--forget", "tts")[0] == 3
    with FakeDaemon(root, [service("tts")]) as daemon:
        daemon.treated = [TTS]
        code, out, _ = ctl("remedies", "--forget", "tts")
        assert (code, daemon.commands) == (0, [("forget", ["tts"])])
        assert out.startswith("tts: mps, earlier no longer in force")
        told = json.loads(ctl("remedies", "--forget", "tts", "--json")[1])
        assert told == {"forgotten": {"tts": ["mps", "earlier"]}}
