"""Units of systemd: as a whole, read by its rules, and checked by its own tool where that is."""

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from supervisor.core.spec import (
    Backoff,
    Condition,
    Dependency,
    GiveUp,
    RestartSpec,
    ServiceSpec,
    SocketSpec,
    StopSpec,
)
from supervisor.export import unit_text
from supervisor.export.exported import ExportError
from supervisor.export.systemd import render
from tests.export.conftest import Golden
from tests.export.specimens import PLAIN, REQUEST, SERVER, SPEECH, TASK, request
from tests.export.unit_parser import command, sections, specifiers, words

ARGUMENT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
VALUE = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\t\"'\\%$;# "), max_size=40
)
ODD = [
    "",
    ";",
    "#",
    "%h",
    "$HOME",
    "${A}",
    "$$",
    'a"b',
    "a'b",
    "a\\",
    "\\;",
    "a\nb",
    "-",
    "@",
    "=",
    "!",
]


def unit(text: str, section: str = "Service") -> list[tuple[str, str]]:
    return sections(text)[section]


def value(text: str, key: str, section: str = "Service") -> str:
    (found,) = [each for name, each in unit(text, section) if name == key]
    return found


def test_the_golden_files(golden: Golden) -> None:
    golden(render(REQUEST))


@given(st.lists(ARGUMENT, max_size=5))
@example(ODD)
@example(["x", ";", "y"])
def test_arguments_survive(arguments: list[str]) -> None:
    service = replace(PLAIN, command=("/bin/x", *arguments))
    (file,) = render(request(service)).files
    assert command(value(file.text, "ExecStart")) == [b"/bin/x", *(a.encode() for a in arguments)]


def test_bytes_that_are_no_text_survive_in_a_command() -> None:
    line = " ".join(map(unit_text.argument, ["a\udcff\udc00b"[:2], "\x85\x01"]))
    assert words(line) == [b"a\xff", "\x85\x01".encode()]


@given(st.dictionaries(st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_]{0,9}\Z"), VALUE, max_size=4))
@example(dict(zip("abcdefghijklmnop", ODD, strict=True)))
def test_variables_survive(env: dict[str, str]) -> None:
    assume("PATH" not in env)
    service = replace(PLAIN, env=env)
    (file,) = render(request(service, with_secrets=True, inherited={})).files
    lines = [each for key, each in unit(file.text) if key == "Environment"]
    read = [word.split(b"=", 1) for line in lines for word in words(line)]
    found = {name.decode(): text.decode() for name, text in read}
    del found["PATH"]
    expected = {"PYTHONUNBUFFERED": "1", **env}
    if expected["PYTHONUNBUFFERED"] == "":
        del expected["PYTHONUNBUFFERED"]
    assert found == expected


@pytest.mark.parametrize("text", ["a\x1b", "\r", "\x7f", "\x85", "\udcff"])
def test_a_variable_that_systemd_would_ignore_is_an_error(text: str) -> None:
    with pytest.raises(ExportError, match=r"plain: ODD has the character .*: put it into a file"):
        render(request(replace(PLAIN, env={"ODD": text})))


@given(VALUE)
@example("ends in \\")
@example("%h")
@example("two\nlines")
def test_a_description_is_one_line_and_says_what_it_can(text: str) -> None:
    (file,) = render(request(replace(PLAIN, description=text))).files
    told = specifiers(value(file.text, "Description", "Unit").encode()).decode()
    plain = text.replace("\n", " ").replace("\t", " ")
    if plain.isprintable() and text:
        assert told == plain.strip().rstrip("\\").strip()
    assert value(file.text, "Type") == "exec"


@pytest.mark.parametrize("folder", ["/a\nb", "/a ", "/a\\"])
def test_a_folder_that_no_unit_can_name_is_an_error(folder: str) -> None:
    with pytest.raises(ExportError, match="cannot stand in a unit file"):
        render(request(replace(PLAIN, cwd=folder)))


@pytest.mark.parametrize(
    ("program", "started"),
    [
        ("serve", ["/usr/bin/env", "serve"]),
        ("./bin/serve", ["/srv/atlas/bin/serve"]),
        ("/opt/serve", ["/opt/serve"]),
        ("../serve", ["/srv/serve"]),
        ("/opt/50%/serve", ["/opt/50%/serve"]),
        ("/opt/my $erver", ["/opt/my $erver"]),
    ],
)
def test_the_program_has_a_whole_path(program: str, started: list[str]) -> None:
    (file,) = render(request(replace(PLAIN, command=(program, "$A")))).files
    assert command(value(file.text, "ExecStart")) == [*(s.encode() for s in started), b"$A"]


@pytest.mark.parametrize("program", ["A=B", "-x", "/a\nb", '/a"', "/a\\b"])
def test_a_program_that_cannot_be_named_is_an_error(program: str) -> None:
    with pytest.raises(ExportError, match=r"whole path|rename it"):
        render(request(replace(PLAIN, command=(program,))))


def test_paths_with_stars_are_no_patterns() -> None:
    (file,) = render(request(replace(PLAIN, env_files=("/a*[b]?/.env",)))).files
    assert value(file.text, "EnvironmentFile") == r"/a\*\[b\]\?/.env"


def test_a_time_of_nothing_is_not_for_ever() -> None:
    service = replace(
        PLAIN,
        stop=StopSpec(timeout=0.0),
        restart=RestartSpec(backoff=Backoff(first=0.05), give_up=GiveUp(1000, 86400.0)),
    )
    (file,) = render(request(service)).files
    assert value(file.text, "TimeoutStopSec") == "0.001"
    assert value(file.text, "RestartSec") == "0.05"
    assert value(file.text, "StartLimitIntervalSec", "Unit") == "86400"


def test_never_giving_up_is_no_limit() -> None:
    (file,) = render(request(replace(PLAIN, restart=RestartSpec(give_up=None)))).files
    assert value(file.text, "StartLimitIntervalSec", "Unit") == "0"


def test_what_must_have_completed_is_waited_for() -> None:
    task = replace(TASK, restart=RestartSpec("always"))
    after = replace(PLAIN, depends_on=(Dependency("migrate", Condition.COMPLETED),))
    first, second = (file.text for file in render(request(task, after)).files)
    assert value(first, "Type") == "oneshot"
    assert value(first, "RemainAfterExit") == "yes"
    # systemd refuses to load a oneshot that is always restarted.
    assert value(first, "Restart") == "on-failure"
    assert value(second, "After", "Unit") == "atlas-migrate.service"
    assert value(second, "Requires", "Unit") == "atlas-migrate.service"


def test_a_restart_of_one_is_no_restart_of_who_needs_it() -> None:
    service = replace(SPEECH, name="page", depends_on=(Dependency("tts"),))
    text = render(request(SPEECH, service)).files[-2].text
    assert value(text, "Wants", "Unit") == "atlas-tts.service"
    assert value(text, "Requires", "Unit") == "atlas-page-http.socket"
    assert value(text, "After", "Unit") == "atlas-page-http.socket atlas-tts.service"


def test_an_end_by_a_signal_is_a_failure() -> None:
    def forced(service: ServiceSpec) -> bool:
        return "RestartForceExitStatus" in render(request(service)).files[0].text

    assert forced(replace(PLAIN, restart=RestartSpec("on-failure")))
    assert not any(forced(replace(PLAIN, restart=RestartSpec(p))) for p in ("always", "never"))


def test_two_units_of_one_name_are_an_error() -> None:
    def sockets(service: str, socket: str) -> ServiceSpec:
        return replace(PLAIN, name=service, sockets=(SocketSpec(socket, (("127.0.0.1", 1),)),))

    with pytest.raises(ExportError, match=r"both be called atlas-a-b-c\.socket: rename one"):
        render(request(sockets("a", "b-c"), sockets("a-b", "c")))


def test_each_file_says_how_to_start_its_own_service() -> None:
    files = render(REQUEST).files
    told = {file.name: file.text.splitlines()[1] for file in files}
    both = "enable --now atlas-tts.service atlas-tts-http.socket"
    assert told["atlas-tts.service"].endswith(both)
    assert told["atlas-tts-http.socket"].endswith(both)
    assert told["atlas-migrate.service"].endswith("enable --now atlas-migrate.service")


def test_a_dependency_that_is_not_exported_is_told() -> None:
    exported = render(request(SERVER))
    assert "Requires" not in exported.files[0].text
    assert any("depends_on tts: is not among" in note.line() for note in exported.notes)


def test_what_env_and_a_file_both_have_is_told() -> None:
    exported = render(request(SERVER, files=REQUEST.files))
    assert any(n.line() == "api_server: TEXT: stands in env and in env_file, and systemd lets the"
               " file win" for n in exported.notes)  # fmt: skip


def test_only_root_can_become_somebody_else() -> None:
    (file,) = render(request(replace(PLAIN, user="nobody"))).files
    assert value(file.text, "User") == "nobody"
    assert value(file.text, "WantedBy", "Install") == "multi-user.target"
    assert "Copy to /etc/systemd/system, then: systemctl daemon-reload" in file.text


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
@pytest.mark.parametrize("hostile", [False, True])
def test_systemd_itself_has_no_complaint(hostile: bool, tmp_path: Path) -> None:
    program = tmp_path / "serve it%"
    program.touch(0o755)
    here = str(tmp_path)
    odd = {f"V{at}": text for at, text in enumerate(ODD)} if hostile else {}
    services = [
        replace(SPEECH, cwd=here, env={**SPEECH.env, **odd}),
        replace(SERVER, cwd=here, command=(str(program), *(ODD if hostile else ()))),
        replace(TASK, cwd=here, command=("/bin/true",)),
    ]
    files = render(request(*services)).files
    for file in files:
        (tmp_path / file.name).write_text(file.text, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / f.name) for f in files)],
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "info", "SYSTEMD_LOG_COLOR": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    complaints = [line for line in done.stderr.splitlines() if "atlas-" in line]
    assert (done.returncode, complaints) == (0, [])
