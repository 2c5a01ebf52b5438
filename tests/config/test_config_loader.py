"""The child process that compiles: its answer, its bounds, and what it keeps out of the parent."""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.config import ConfigError, loader, state_dir
from supervisor.config.compile import CPU_SECONDS, compile_file
from supervisor.config.loader import load
from supervisor.config.problems import Problem

REPOSITORY = Path(__file__).parents[2]
SERVICES = REPOSITORY / "config" / "services.yaml"


def test_the_child_answers_as_the_compiler_does() -> None:
    environ = {"TTS_PORT": "4003", "HOME": "/home/me"}
    assert load(SERVICES, environ) == compile_file(str(SERVICES), environ)


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTS_PORT", "4004")
    assert load(SERVICES).services[0].all_ports() == (4004,)


def test_problems_come_through_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "services.yaml"
    path.write_text("version: 1\nservices: {a: {comand: тест}}\n")
    with pytest.raises(ConfigError) as here:
        compile_file(str(path), {})
    with pytest.raises(ConfigError) as there:
        load(path, {})
    assert there.value.problems == here.value.problems


def test_a_relative_path_is_one_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s.yaml").write_text("version: 1\nservices: {}\n")
    monkeypatch.chdir(tmp_path)
    assert load("s.yaml", {}).root == str(tmp_path)


def test_a_name_that_looks_like_an_option_is_a_name(tmp_path: Path) -> None:
    (tmp_path / "--help").write_text("version: 1\nservices: {}\n")
    assert load(tmp_path / "--help", {}).services == ()


def test_surrogates_of_undecodable_variables_survive(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text('version: 1\nservices: {a: {command: [x, "${V}"]}}\n')
    assert load(path, {"V": "caf\udce9"}).services[0].command == ("x", "caf\udce9")


def test_python_variables_and_the_working_directory_do_not_reach_the_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("yaml.py", "json.py", "sitecustomize.py"):
        (tmp_path / name).write_text("raise SystemExit('planted')\n")
    path = tmp_path / "s.yaml"
    path.write_text("version: 1\nservices: {}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONOPTIMIZE", "2")
    monkeypatch.chdir(tmp_path)
    assert load(path).services == ()


def test_a_child_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("version: 1\nservices: {}\n")
    with pytest.raises(ConfigError, match=r"gave no result: it took longer than 0 s"):
        load(path, {}, timeout=0.0)


def test_a_child_that_says_too_much_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "MAX_OUTPUT", 100)
    with pytest.raises(ConfigError, match="its result is larger"):
        load(SERVICES, {})


def test_a_child_that_cannot_run_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    # More than a pipe holds: the parent writes to a child that never reads.
    with pytest.raises(ConfigError, match="gave no result: it was killed or"):
        load(SERVICES, {"BIG": "x" * 300_000})


def test_an_interpreter_that_is_gone_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(ConfigError, match=r"gave no result: .*No such file"):
        load(SERVICES, {})


def test_an_alias_bomb_is_an_error_of_the_file(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    path = tmp_path / "s.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match="once aliases are followed"):
        load(path, {})


def test_a_thousand_services(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        "version: 1\nservices:\n"
        + "".join(
            f"  s{n}: {{command: [sleep, 1000], depends_on: [{f's{n - 1}' if n else ''}]}}\n"
            for n in range(1000)
        )
    )
    assert [service.name for service in load(path, {}).services] == [f"s{n}" for n in range(1000)]


def test_neither_parser_nor_validator_is_imported_by_the_parent() -> None:
    code = (
        "import sys; from supervisor.config.loader import load;"
        "from supervisor.config import dotenv;"
        f"load({str(SERVICES)!r}, {{}});"
        "print(sorted({'yaml', 'pydantic', 'pydantic_core'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=REPOSITORY,
    )
    assert run.stdout.strip() == "[]"


def test_the_child_limits_itself() -> None:
    code = (
        "import resource; from supervisor.config import compile as c; c._limit_resources();"
        "print(resource.getrlimit(resource.RLIMIT_CPU)[0])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=REPOSITORY,
    )
    assert int(run.stdout) == CPU_SECONDS
    assert resource.getrlimit(resource.RLIMIT_CPU)[0] != CPU_SECONDS


@pytest.mark.parametrize(
    ("line", "root"),
    [
        ("", "."),
        ("root: ..", ".."),
        ("root: 'a b'  # comment", "a b"),
        ('root: "a#b"', "a#b"),
        ("root: a b #c", "a b"),
        ("root: a#b", "a#b"),
        ("root:   sub/dir   ", "sub/dir"),
        ("root: /absolute", "/absolute"),
        ("root: ~/x", "/home/me/x"),
        ("root: 5", "5"),
    ],
)
def test_the_state_directory_without_a_parser_is_the_compilers(
    tmp_path: Path, line: str, root: str
) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(f"{line}\nversion: 1\nservices: {{}}\n")
    environ = {"HOME": "/home/me"}
    expected = os.path.join(os.path.normpath(tmp_path / root), ".atlas")
    assert state_dir(path, environ) == expected
    assert compile_file(str(path), environ).state_dir == expected


@pytest.mark.parametrize(
    "text",
    [
        "root: 'it''s'\nversion: 1\nservices: {}\n",
        'root: "a\\tb"\nversion: 1\nservices: {}\n',
        "root: |\n  a\nversion: 1\nservices: {}\n",
        'version: 1\nservices: {a: {command: [x], description: "x\nroot: y\n"}}\n',
        "root: &a x\nversion: 1\nservices: {}\n",
        "? root\n: x\nversion: 1\nservices: {}\n",
    ],
)
def test_a_root_that_reads_differently_without_a_parser_is_refused(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="root: must be plain text on a line of its own"):
        compile_file(str(path), {})


def test_the_state_directory_of_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        state_dir(tmp_path)


def test_a_problem_is_one_line_whatever_its_file_is_called() -> None:
    assert str(Problem("/a\nb/.env", 1, 2, "", "it is bad")) == "/a\\nb/.env:1:2: it is bad"
    assert str(Problem("/дім/.env", None, None, "", "it is bad")) == "/дім/.env: it is bad"
