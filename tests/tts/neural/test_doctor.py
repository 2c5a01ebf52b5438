"""`python -m services.tts --doctor`: every finding is a line of JSON, and names what to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from services.tts import doctor
from tests.tts.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

KEYS = {"check", "level", "text", "hint", "details"}


def findings(text: str) -> dict[str, dict[str, Any]]:
    lines = [json.loads(line) for line in text.splitlines()]
    assert all(set(line) == KEYS for line in lines)
    assert all(line["level"] in ("ok", "note", "wrong") for line in lines)
    assert len({line["check"] for line in lines}) == len(lines)
    return {line["check"]: line for line in lines}


def run(capsys: pytest.CaptureFixture[str], directory: Path, **options: Any) -> dict[str, Any]:
    settings = {"engine": "auto", "device": "cpu", "exact": False, **options}
    assert doctor.run(model_dir=str(directory), **settings) == 0
    return findings(capsys.readouterr().out)


def test_all_is_well_with_a_whole_voice(capsys: pytest.CaptureFixture[str], tiny: Path) -> None:
    found = run(capsys, tiny)
    assert {name: one["level"] for name, one in found.items()} == dict.fromkeys(
        ("environment", "packages", "files", "neural", "operators", "espeak"), "ok"
    )
    assert found["packages"]["details"]["torch"].startswith("2.")
    assert found["neural"]["details"]["device"] == "cpu"
    operators = found["operators"]["details"]
    assert operators["without_mps"] == []
    assert "aten::_weight_norm_interface" not in operators["operators"]
    assert operators["operators"]["aten::convolution"] > 80


def test_a_missing_file_is_a_note_with_the_cure_since_espeak_speaks(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = run(capsys, tmp_path)
    assert (found["files"]["level"], found["espeak"]["level"]) == ("note", "ok")
    assert found["files"]["hint"] == "run `make neural`, which fetches it"
    assert found["files"]["text"] == f"there is no neural voice in {tmp_path}"
    assert "neural" not in found


def test_each_engine_is_asked_about_what_it_needs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert set(run(capsys, tmp_path, engine="espeak")) == {"environment", "packages", "espeak"}
    assert set(run(capsys, tmp_path, engine="ukrainian")) == {"environment", "packages", "files"}


def test_libraries_that_are_not_installed_are_named(
    capsys: pytest.CaptureFixture[str], tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import metadata

    version = metadata.version

    def without_espnet(name: str) -> str:
        if name == "espnet":
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", without_espnet)
    found = run(capsys, tiny)
    assert found["packages"]["level"] == "note"
    assert "needs espnet, which is not installed" in found["packages"]["text"]
    assert found["packages"]["hint"] == "run `make neural`"
    assert "neural" not in found


def test_a_device_that_is_not_used_is_a_note_that_says_why(
    capsys: pytest.CaptureFixture[str], tiny: Path
) -> None:
    from services.tts.engines.ukrainian import devices

    if devices.absence("mps") is None:
        pytest.skip("this machine has MPS")
    neural = run(capsys, tiny, device="mps")["neural"]
    assert neural["level"] == "note"
    assert "the CPU is used instead of mps" in neural["text"]


def test_weight_norm_that_is_not_folded_is_wrong(
    capsys: pytest.CaptureFixture[str], tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.tts.engines.ukrainian import operators

    audit = operators.Audit({"aten::_weight_norm_interface": 78}, (), ())
    monkeypatch.setattr(operators, "audit_voice", lambda _: audit)
    assert run(capsys, tiny)["operators"]["level"] == "wrong"
    lacking = operators.Audit({"aten::odd": 1}, ("aten::odd",), ())
    monkeypatch.setattr(operators, "audit_voice", lambda _: lacking)
    finding = run(capsys, tiny)["operators"]
    assert finding["level"] == "note"
    assert "MPS lacks aten::odd" in finding["text"]


def test_one_that_fails_is_a_finding_and_the_others_are_told(
    capsys: pytest.CaptureFixture[str], tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.tts.engines.ukrainian import operators

    def fail(_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(operators, "audit_voice", fail)
    found = run(capsys, tiny)
    assert found["operators"]["level"] == "wrong"
    assert "out of memory" in found["operators"]["text"]
    assert found["espeak"]["level"] == "ok"


@pytest.mark.parametrize(
    ("platform", "fallback", "level"),
    [
        ("linux", None, "ok"),
        ("linux", "0", "ok"),
        ("darwin", None, "ok"),
        ("darwin", "1", "ok"),
        ("darwin", "0", "note"),
    ],
)
def test_the_fallback_of_mps(
    monkeypatch: pytest.MonkeyPatch, platform: str, fallback: str | None, level: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    finding = doctor._environment(fallback)
    assert finding.level == level
    assert (finding.hint is None) == (level == "ok")


def test_standard_output_has_nothing_but_findings(tmp_path: Path, tiny: Path) -> None:
    environ: Mapping[str, str] = {
        name: value for name, value in os.environ.items() if not name.startswith("TTS_")
    }
    done = subprocess.run(
        [sys.executable, "-m", "services.tts", "--doctor", "--model-dir", str(tiny)],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = findings(done.stdout)
    assert found["operators"]["level"] == "ok", found["operators"]
