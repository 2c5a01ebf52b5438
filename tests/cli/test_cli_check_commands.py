"""`doctor`: whether services could be started, from where, and in which session."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from supervisor.cli.checks import commands, folders, session
from supervisor.cli.findings import Finding, Level
from supervisor.core.spec import ExecCheck, FleetSpec, ProbeSpec, ServiceSpec, SocketSpec

ENVIRON = {"PATH": "/usr/bin:/bin", "HOME": "/"}


def spec(root: Path, **changes: Any) -> ServiceSpec:
    return ServiceSpec(**{"name": "tts", "command": ("sleep", "1"), "cwd": str(root), **changes})


def brief(findings: Iterable[Finding]) -> list[tuple[str, str, Level]]:
    return [(each.subject, each.check, each.level) for each in findings]


def only(findings: Iterable[Finding]) -> Finding:
    (found,) = findings
    return found


def script(path: Path, first: str, mode: int = 0o755) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{first}\n")
    path.chmod(mode)


# Commands ------------------------------------------------------------------------------------


def test_nothing_is_said_of_a_service_that_can_be_started(tmp_path: Path) -> None:
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / "more.env").write_text("A=1\n")
    script(tmp_path / "run.sh", "/bin/sh")
    probe = ProbeSpec(ExecCheck(("./run.sh",)))
    for command in (("sleep", "1"), ("python", "-V"), ("./run.sh",), (sys.executable,)):
        whole = spec(
            tmp_path,
            command=command,
            venv=str(tmp_path / "venv"),
            env_files=(str(tmp_path / "more.env"),),
            liveness=probe,
        )
        assert list(commands.command(whole, ENVIRON)) == []


@pytest.mark.parametrize(
    ("changes", "check", "words"),
    [
        ({"cwd": "/no/such/folder"}, "cwd", "/no/such/folder does not exist"),
        ({"cwd": "/etc/passwd"}, "cwd", "/etc/passwd is no directory"),
        ({"command": ("no-such-program",)}, "command", "command not found: no-such-program"),
        ({"command": ("./plain",)}, "command", "is not executable (chmod +x would make it so)"),
        ({"command": ("./moved",)}, "command", "begins with #!/gone/python: no such file"),
        ({"readiness": ProbeSpec(ExecCheck(("nope",)))}, "probes.readiness.exec",
         "command not found: nope"),
        ({"venv": "/no/venv"}, "venv", "/no/venv does not exist"),
        ({"env_files": ("/no/such.env",)}, "environment", "the environment file does not exist"),
        ({"user": "no-such-account"}, "environment", "has no account 'no-such-account'"),
    ],
)  # fmt: skip
def test_what_keeps_a_service_from_being_started(
    changes: dict[str, Any], check: str, words: str, tmp_path: Path
) -> None:
    script(tmp_path / "plain", "/bin/sh", mode=0o644)
    script(tmp_path / "moved", "/gone/python")
    found = only(commands.command(spec(tmp_path, **changes), ENVIRON))
    assert (found.subject, found.check, found.level) == ("tts", check, "wrong")
    assert words in found.text
    assert found.hint or "correct" in found.text or "create it" in found.text


def test_an_environment_without_its_python(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    broken = spec(tmp_path, venv=str(venv))
    found = only(commands.command(broken, ENVIRON))
    assert (found.check, found.level) == ("venv", "wrong")
    assert found.text.endswith("has no bin/python")
    # An interpreter whose path had a version in it, and was upgraded.
    (venv / "bin" / "python").symlink_to("/gone/3.11.4/bin/python3.11")
    found = only(commands.command(broken, ENVIRON))
    assert found.text.endswith("is of /gone/3.11.4/bin/python3.11, which is gone")
    assert found.hint is not None
    assert "python3 -m venv" in found.hint


def test_each_python_is_asked_once_for_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = tmp_path / "asked"
    monkeypatch.setattr(commands, "PYTHON_TIMEOUT", 60.0)
    python = tmp_path / "venv" / "bin" / "python"
    script(python, f'/bin/sh\necho >> {asked}\nexec {sys.executable} "$@"')
    two = [spec(tmp_path, name=name, venv=str(tmp_path / "venv")) for name in ("tts", "stt")]
    found = only(commands.pythons([*two, spec(tmp_path, name="none")], ENVIRON))
    version = ".".join(map(str, sys.version_info[:3]))
    assert (found.check, found.level) == ("python", "ok")
    assert found.text.endswith(f"venv: {version}")
    assert asked.read_text() == "\n"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("echo dyld: library not loaded >&2; exit 3", "exited with code 3: dyld: library not"),
        ("kill -9 $$", "was killed by signal 9 (SIGKILL)"),
        ("exec sleep 1000", "it did not answer within 0.2 s"),
    ],
)
def test_a_python_that_does_not_start(
    body: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "PYTHON_TIMEOUT", 0.2 if "sleep" in body else 60.0)
    script(tmp_path / "venv" / "bin" / "python", f"/bin/sh\n{body}")
    using = [spec(tmp_path, name=f"s{n}", venv=str(tmp_path / "venv")) for n in range(7)]
    found = only(commands.pythons(using, ENVIRON))
    assert found.level == "wrong"
    assert "does not start, and s0, s1, s2, s3, s4 and 2 more cannot either: " in found.text
    assert words in found.text


# Environment files ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "mode", "levels", "words"),
    [
        ("A=1\n", 0o644, [], ""),
        ("API_TOKEN=abc\n", 0o600, [], ""),
        ("API_TOKEN=\n", 0o644, [], ""),
        ("API_TOKEN=abc\n", 0o644, ["note"], "may read more.env, and API_TOKEN in it"),
        ("A=1\n", 0o666, ["wrong"], "may write to more.env"),
        ("DATA=$HOME/x\nB=${A}\n", 0o600, ["note"],
         "more.env: DATA holds $HOME and B holds $A, which stays as it is"),
        ("PRICE=5$\nPASSWORD=a$b\n", 0o600, [], ""),
    ],
)  # fmt: skip
def test_environment_files(
    text: str,
    mode: int,
    levels: list[Level],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "more.env"
    path.write_text(text)
    path.chmod(mode)
    (tmp_path / "broken.env").write_text("no assignment\n")
    files = (str(path), str(tmp_path / "broken.env"), str(tmp_path / "gone.env"))
    two = [spec(tmp_path, name=name, env_files=files) for name in ("tts", "stt")]
    found = list(commands.env_files(fleet(tmp_path), two))
    assert [each.level for each in found] == levels, "each file once, however many have it"
    assert all(words in each.text and "abc" not in each.text for each in found)


def test_the_file_beside_the_yaml_is_looked_at_too(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("HF_TOKEN=abc\n")
    (tmp_path / ".env").chmod(0o644)
    found = only(commands.env_files(fleet(tmp_path), []))
    assert "HF_TOKEN" in found.text


def fleet(root: Path, logs_dir: str = "") -> FleetSpec:
    where, state = str(root / "services.yaml"), str(root / ".atlas")
    return FleetSpec(where, str(root), state, logs_dir or str(root / "logs"))


# Folders -------------------------------------------------------------------------------------


def test_folders_that_can_be_made_or_written_to(tmp_path: Path) -> None:
    assert list(folders.folders(fleet(tmp_path))) == []
    assert sorted(tmp_path.iterdir()) == [], "looking makes nothing"
    (tmp_path / ".atlas").mkdir(mode=0o700)
    (tmp_path / "logs").mkdir()
    assert list(folders.folders(fleet(tmp_path))) == []


def test_folders_that_cannot(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    blocked = fleet(tmp_path, logs_dir=str(tmp_path / "file" / "logs"))
    found = only(folders.folders(blocked))
    assert (found.check, found.level) == ("logs_dir", "wrong")
    assert "is in the way, which is no directory" in found.text
    (tmp_path / ".atlas").mkdir(mode=0o755)
    (tmp_path / ".atlas").chmod(0o755)
    found = only(folders.folders(fleet(tmp_path)))
    assert (found.check, found.level) == ("state folder", "wrong")
    assert "chmod 700" in found.text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_of_others(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o555)
    found = only(folders.folders(fleet(tmp_path, logs_dir=str(tmp_path / "theirs" / "logs"))))
    assert "where it would have to be made" in found.text


# The session ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, None),
        ({"http_proxy": ""}, None),
        ({"https_proxy": "http://p:1"}, None),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "localhost, 127.0.0.1,.corp"}, None),
        ({"HTTP_PROXY": "http://p:1", "no_proxy": "*"}, None),
        ({"all_proxy": "socks://p:1", "no_proxy": "localhost,127.0.0.0/8"}, None),
        ({"HTTP_PROXY": "http://u:secret@p:1"}, "no_proxy lacks localhost and 127.0.0.1"),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "LOCALHOST"}, "no_proxy lacks 127.0.0.1"),
        ({"http_proxy": "http://p:1", "no_proxy": "notlocalhost"}, "lacks localhost and 127.0.0.1"),
    ],
)
def test_proxies(environ: dict[str, str], words: str | None, tmp_path: Path) -> None:
    own = list(session.proxies(environ))
    of_service = list(session.service_proxies(spec(tmp_path, env=environ), ENVIRON))
    assert list(session.service_proxies(spec(tmp_path), {**ENVIRON, **environ})) == []
    if words is None:
        assert (own, of_service) == ([], [])
    else:
        assert brief([*own, *of_service]) == [
            ("atlasctl", "proxy", "note"),
            ("tts", "proxy", "note"),
        ]
        assert all(words in each.text and "secret" not in each.text for each in own + of_service)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"LANG": "uk_UA.UTF-8"}, None),
        ({"LANG": "C.utf8"}, None),
        ({"LANG": "C", "LC_ALL": "en_US.UTF-8"}, None),
        ({"LC_CTYPE": "UTF-8"}, None),
        ({}, "neither LANG nor LC_ALL is set"),
        ({"LANG": "C"}, "LANG=C is no UTF-8"),
        ({"LANG": "uk_UA.UTF-8", "LC_ALL": "POSIX"}, "LC_ALL=POSIX is no UTF-8"),
        ({"LANG": "uk_UA.KOI8-U", "LC_ALL": ""}, "LANG=uk_UA.KOI8-U is no UTF-8"),
    ],
)
def test_encodings(environ: dict[str, str], words: str | None) -> None:
    found = list(session.encoding(environ))
    assert [each.level for each in found] == ([] if words is None else ["note"])
    assert all(words is not None and words in each.text for each in found)


def test_open_files(tmp_path: Path) -> None:
    http = SocketSpec("http", (("127.0.0.1", 1), ("::1", 1)))
    services = [spec(tmp_path, name=f"s{n}", sockets=(http,)) for n in range(100)]
    needed = 64 + 100 * 6 + 200
    assert list(session.open_files(services, None)) == []
    assert list(session.open_files(services, needed)) == []
    found = only(session.open_files(services, needed - 1))
    assert found.level == "note"
    assert found.text == "a process may have 863 open files, and 100 services may take 864"


def test_another_atlasctl_on_the_path(tmp_path: Path) -> None:
    for name in ("own", "other", "linked"):
        (tmp_path / name).mkdir()
    own, other = tmp_path / "own" / "atlasctl", tmp_path / "other" / "atlasctl"
    script(own, "/bin/sh")
    script(other, "/bin/sh")
    (tmp_path / "linked" / "atlasctl").symlink_to(own)

    def found(*path: str) -> list[Finding]:
        text = ":".join(str(tmp_path / folder) for folder in path)
        return list(session.other_atlasctl(text, [str(own)], "/srv/atlas/supervisor"))

    assert found("nothing") == found("own", "other") == found("linked", "other") == []
    note = only(found("other", "own"))
    assert (note.check, note.level) == ("atlasctl", "note")
    assert note.text == f"PATH has another one: {other}; this one is of /srv/atlas"
