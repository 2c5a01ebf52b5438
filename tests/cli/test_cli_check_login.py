"""`doctor`: login items of both systems, from their files and from answers that are made up."""

import plistlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from supervisor.cli.checks import launchd, remains, systemd
from supervisor.cli.checks.login import Starters, crontab_lines, login_item, starters
from supervisor.cli.checks.startup import Start, gone
from supervisor.cli.findings import Finding
from supervisor.cli.login_item import runner
from supervisor.install.manager import Outcome
from supervisor.posix.account import account_name

UID = 501
PROGRAM = "/bin/sh"
"""Is there, and can be executed."""


class System:
    """Answers as launchctl and crontab do."""

    def __init__(self, **answers: Outcome | None) -> None:
        self.answers = answers
        self.asked: list[Sequence[str]] = []

    def __call__(self, argv: Sequence[str]) -> Outcome:
        self.asked.append(argv)
        verb = argv[1].replace("-", "_") if argv[0] == "launchctl" else argv[0]
        return self.answers.get(verb) or Outcome(None, "")


@pytest.fixture
def config(tmp_path: Path) -> str:
    """The YAML of the system that is looked at."""
    (tmp_path / "atlas" / "config").mkdir(parents=True)
    path = tmp_path / "atlas" / "config" / "services.yaml"
    path.touch()
    return str(path)


# Command lines -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "environ", "cwd", "starts"),
    [
        (["{venv}/python", "-P", "-m", "supervisor.cli", "-c", "{config}", "run"], {}, "/", True),
        (["{venv}/atlasctl", "run", "--config={config}"], {}, "/", True),
        (["{venv}/atlasctl", "--color", "never", "-c{config}", "up", "--no-wait"], {}, "/", True),
        (["/bin/sh", "-c", "cd / && exec {venv}/atlasctl -c '{config}' up"], {}, "/", True),
        (["/bin/sh", "-lc", "{venv}/atlasctl -c {config} up; true"], {}, "/", True),
        (["{venv}/atlasctl", "up"], {}, "{root}/config", True),
        (["{venv}/atlasctl", "up"], {"ATLAS_CONFIG": "{config}"}, "/", True),
        (["{venv}/atlasctl", "-c", "config/services.yaml", "run"], {}, "{root}", True),
        (["{venv}/atlasctl", "-c", "config/../config/services.yaml", "run"], {}, "{root}", True),
        (["{venv}/atlasctl", "-c", "config/services.yaml", "run"], {}, "/", False),
        (["{venv}/atlasctl", "-c", "/other.yaml", "run"], {}, "{root}", False),
        (["{venv}/atlasctl", "up"], {"ATLAS_CONFIG": "/no/such.yaml"}, "{root}", False),
        (["{venv}/atlasctl", "-c", "{config}", "status"], {}, "/", False),
        (["{venv}/atlasctl", "-c", "{config}"], {}, "/", False),
        (["{venv}/atlasctl", "-c"], {}, "/", False),
        (["{venv}/python", "-m", "supervisor.config.compile", "{config}", "run"], {}, "/", False),
        (["/bin/sh", "-c", "echo 'unbalanced"], {}, "/", False),
        (["/usr/bin/supervisord", "-c", "{config}", "run"], {}, "/", False),
        ([], {}, "/", False),
    ],
    ids=range(19),
)
def test_which_commands_start_this_system(
    argv: list[str], environ: dict[str, str], cwd: str, starts: bool, config: str
) -> None:
    def filled(text: str) -> str:
        root = str(Path(config).parents[1])
        return text.replace("{config}", config).replace("{root}", root).replace("{venv}", "/v/bin")

    environ = {name: filled(value) for name, value in environ.items()}
    start = Start(tuple(map(filled, argv)), "/x.plist", environ, filled(cwd))
    assert start.starts(config) is starts


@pytest.mark.parametrize(
    ("argv", "calls"),
    [
        (("/srv/atlas/restart_system.sh", "start"), True),
        (("/bin/bash", "/srv/atlas/restart_system.sh", "start"), True),
        (("/bin/bash", "-lc", "cd /srv/atlas; ./restart_system.sh start"), True),
        (("/bin/bash", "-c", "echo restart_system.sh.bak"), False),
        (("/srv/atlas/atlasctl", "up"), False),
    ],
)
def test_what_still_calls_the_old_script(argv: tuple[str, ...], calls: bool) -> None:
    found = list(remains.old_callers([Start(argv, "crontab (@reboot)")], "/s.yaml"))
    assert [each.level for each in found] == ["note"] * calls
    assert all(each.text == "crontab (@reboot) still starts restart_system.sh" for each in found)


def test_programs_that_are_gone(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    assert gone([PROGRAM]) is None
    assert gone([]) == "nothing is no absolute path"
    assert gone(["~/bin/atlasctl"]) == "~/bin/atlasctl is no absolute path"
    assert gone(["/no/such"]) == "/no/such is gone"
    assert gone([str(tmp_path / "plain")]) == f"{tmp_path}/plain cannot be executed"


# launchd -------------------------------------------------------------------------------------

LOADED = Outcome(0, "gui/501/ua.atlas = {\n\tstate = running\n\tspawn type = interactive (4)\n}\n")
NOT_LOADED = Outcome(113, "")
NONE_DISABLED = Outcome(0, 'disabled services = {\n\t"other.one" => disabled\n}\n')


def agent(folder: Path, config: str, **changes: Any) -> Path:
    """Write a launch agent that is as it should be, but for the changes; None leaves one out."""
    whole = {
        "Label": "ua.atlas",
        "ProgramArguments": [PROGRAM, "-c", f"exec /v/bin/atlasctl -c {config} run"],
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ProcessType": "Interactive",
        **changes,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{whole['Label']}.plist"
    path.write_bytes(plistlib.dumps({k: v for k, v in whole.items() if v is not None}))
    return path


def on_a_mac(folder: Path, config: str, system: System) -> list[Finding]:
    found = Starters(agents=tuple(launchd.agents([str(folder)])))
    return list(login_item(found, config, UID, system))


def test_a_launch_agent_that_is_well(tmp_path: Path, config: str) -> None:
    agent(tmp_path / "agents", config)
    other = tmp_path / "other.yaml"
    other.touch()
    agent(tmp_path / "agents", str(other), Label="other")
    (tmp_path / "agents" / "broken.plist").write_text("<plist>")
    (tmp_path / "agents" / "list.plist").write_bytes(plistlib.dumps([1]))
    (tmp_path / "agents" / "folder.plist").mkdir()
    system = System(print_disabled=NONE_DISABLED, print=LOADED)
    (found,) = on_a_mac(tmp_path / "agents", config, system)
    assert (found.check, found.level) == ("login item", "ok")
    assert found.text == "ua.atlas starts it at login, and is loaded"
    assert system.asked == [
        ("launchctl", "print-disabled", "gui/501"),
        ("launchctl", "print", "gui/501/ua.atlas"),
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ProcessType": None}, "is of ProcessType Standard: macOS gives all that it starts less"),
        ({"ProcessType": "Background"}, "is of ProcessType Background"),
        ({"KeepAlive": True}, "after `atlasctl down` launchd starts all again"),
        ({"KeepAlive": {"SuccessfulExit": True}}, "after `atlasctl down` launchd starts all again"),
        ({"RunAtLoad": None, "KeepAlive": None}, "does not start at login"),
        ({"RunAtLoad": False, "KeepAlive": False}, "does not start at login"),
    ],
)
def test_a_launch_agent_that_could_be_better(
    changes: dict[str, Any], words: str, tmp_path: Path, config: str
) -> None:
    path = agent(tmp_path / "agents", config, **changes)
    system = System(print_disabled=NONE_DISABLED, print=LOADED)
    note, fine = on_a_mac(tmp_path / "agents", config, system)
    assert (note.level, fine.level) == ("note", "ok")
    assert words in note.text
    assert note.hint is not None
    assert f"launchctl bootstrap gui/501 {path}" in note.hint


@pytest.mark.parametrize(
    "changes",
    [{"ProcessType": "Adaptive"}, {"KeepAlive": {"Crashed": True}}, {"RunAtLoad": None},
     {"KeepAlive": None}],
)  # fmt: skip
def test_launch_agents_that_do_as_well(
    changes: dict[str, Any], tmp_path: Path, config: str
) -> None:
    agent(tmp_path / "agents", config, **changes)
    system = System(print_disabled=NONE_DISABLED, print=LOADED)
    (found,) = on_a_mac(tmp_path / "agents", config, system)
    assert found.level == "ok"


@pytest.mark.parametrize(
    "changes",
    [
        {"ProgramArguments": ["/gone/python", "-m", "supervisor.cli", "-c", "{config}", "run"]},
        {"Program": "/gone/python",
         "ProgramArguments": ["python", "-m", "supervisor.cli", "-c", "{config}", "run"]},
    ],
)  # fmt: skip
def test_a_launch_agent_whose_interpreter_is_gone(
    changes: dict[str, Any], tmp_path: Path, config: str
) -> None:
    words = [word.replace("{config}", config) for word in changes["ProgramArguments"]]
    agent(tmp_path / "agents", config, **{**changes, "ProgramArguments": words})
    (found,) = on_a_mac(tmp_path / "agents", config, System())
    assert (found.level, found.text) == ("wrong", "ua.atlas: /gone/python is gone")


@pytest.mark.parametrize(
    ("changes", "system", "words"),
    [
        ({}, System(), "launchctl does not say whether it is loaded"),
        ({}, System(print_disabled=Outcome(0, '"ua.atlas" => disabled'), print=LOADED),
         "is switched off"),
        ({}, System(print_disabled=Outcome(0, '"ua.atlas" => true'), print=LOADED),
         "is switched off"),
        ({"Disabled": True}, System(print_disabled=NONE_DISABLED, print=LOADED),
         "is switched off"),
        ({}, System(print_disabled=NONE_DISABLED, print=NOT_LOADED), "is not loaded now"),
        ({}, System(print_disabled=NONE_DISABLED), "is not loaded now"),
        ({}, System(print_disabled=NONE_DISABLED, print=Outcome(0, "\tspawn type = daemon (3)\n")),
         "is loaded as daemon, from before its file was changed"),
    ],
)  # fmt: skip
def test_a_launch_agent_that_is_not_in_force(
    changes: dict[str, Any], system: System, words: str, tmp_path: Path, config: str
) -> None:
    agent(tmp_path / "agents", config, **changes)
    (found,) = on_a_mac(tmp_path / "agents", config, system)
    assert (found.level, words in found.text) == ("note", True)


def test_an_agent_that_does_not_stay_up(tmp_path: Path, config: str) -> None:
    agent(tmp_path / "agents", config)
    said = "\tstate = spawn scheduled\n\tlast exit code = 78: EX_CONFIG\n"
    system = System(print_disabled=NONE_DISABLED, print=Outcome(0, said))
    (found,) = on_a_mac(tmp_path / "agents", config, system)
    text = "ua.atlas does not stay up: launchd says exit code 78: EX_CONFIG"
    assert (found.level, found.text) == ("wrong", text)
    running = Outcome(0, "\tstate = running\n\tpid = 12\n\tlast exit code = 1\n")
    system = System(print_disabled=NONE_DISABLED, print=running)
    (found,) = on_a_mac(tmp_path / "agents", config, system)
    assert found.level == "ok"


@pytest.mark.parametrize("system", ["darwin", "linux"])
def test_an_item_whose_system_was_moved(system: str, tmp_path: Path, config: str) -> None:
    home = tmp_path / "home"
    agent(home / "Library" / "LaunchAgents", "/moved/s.yaml", Label="a.b")
    unit(home / ".config" / "systemd" / "user", "/moved/s.yaml", "")
    found = starters(system, {"HOME": str(home)}, System())
    moved, none = login_item(found, config, UID, System())
    assert none.text == "it does not start at login"
    assert moved.text.endswith("starts /moved/s.yaml, which is not there any more")
    undo = (
        "launchctl bootout gui/501/a.b; rm " if system == "darwin" else "systemctl --user disable"
    )
    assert (moved.hint or "").startswith(undo)


def test_what_is_enabled_wins_over_the_file(tmp_path: Path, config: str) -> None:
    agent(tmp_path / "agents", config, Disabled=True)
    system = System(print_disabled=Outcome(0, '"ua.atlas" => enabled'), print=LOADED)
    (found,) = on_a_mac(tmp_path / "agents", config, system)
    assert found.level == "ok"


# systemd -------------------------------------------------------------------------------------

UNIT = """\
[Unit]
Description=ExecStart=/no
[Service]
# ExecStart=/commented/out run
ExecStart=/gone
ExecStart=
ExecStart={program} -c \\
    "exec /v/bin/atlasctl -c {config} run"
{more}
[Install]
WantedBy=default.target
"""


def unit(folder: Path, config: str, more: str, *, enabled: bool = True) -> Path:
    """Write a user unit and, if it is enabled, the link that says so."""
    folder.mkdir(parents=True)
    path = folder / "atlas.service"
    path.write_text(UNIT.format(program=PROGRAM, config=config, more=more))
    if enabled:
        (folder / "default.target.wants").mkdir()
        (folder / "default.target.wants" / "atlas.service").symlink_to(path)
    return path


def on_linux(folder: Path, config: str, linger: Path) -> list[Finding]:
    found = Starters(units=tuple(systemd.units([str(folder)], "/home/a")))
    return list(login_item(found, config, 0, System(), str(linger)))


@pytest.mark.parametrize(
    ("more", "enabled", "lingers", "told"),
    [
        ("KillMode=process", True, True, [("ok", "starts it at boot, login or not")]),
        ("KillMode=none", True, True, [("ok", "starts it at boot, login or not")]),
        ("KillMode=process", True, False, [("note", "all ends when you log out")]),
        ("KillMode=process", False, True, [("note", "is there and not enabled")]),
        ("", True, True, [("note", "has KillMode=control-group"), ("ok", "starts it at boot")]),
        ("KillMode=process\nKillMode=", True, True,
         [("note", "has KillMode=control-group"), ("ok", "starts it at boot")]),
        ("KillMode=process\nKillMode=mixed", True, True,
         [("note", "has KillMode=mixed"), ("ok", "starts it at boot")]),
    ],
)  # fmt: skip
def test_units(
    more: str,
    enabled: bool,
    lingers: bool,
    told: list[tuple[str, str]],
    tmp_path: Path,
    config: str,
) -> None:
    unit(tmp_path / "user", config, more, enabled=enabled)
    (tmp_path / "linger").mkdir()
    if lingers:
        (tmp_path / "linger" / account_name(0)).touch()
    found = on_linux(tmp_path / "user", config, tmp_path / "linger")
    assert [each.level for each in found] == [level for level, _ in told]
    assert all(words in each.text for each, (_, words) in zip(found, told, strict=True))


def test_a_unit_whose_interpreter_is_gone(tmp_path: Path, config: str) -> None:
    path = unit(tmp_path / "user", config, "")
    path.write_text(
        "[Service]\nExecStart=-@%h/venv/bin/atlasctl atlasctl run\n"
        f"Environment=A=1 'ATLAS_CONFIG={config}'\nWorkingDirectory=-/\n"
    )
    (found,) = on_linux(tmp_path / "user", config, tmp_path)
    assert (found.level, found.text) == (
        "wrong",
        "atlas.service: /home/a/venv/bin/atlasctl is gone",
    )


# crontab, and all together -------------------------------------------------------------------

CRONTAB = """\
# @reboot {config} commented out
SHELL=/bin/sh
ATLAS_CONFIG = "{config}"
@reboot /v/bin/atlasctl up
*/5 * * * *  cd /srv && ./restart_system.sh status
@daily
"""


def test_lines_of_a_crontab(config: str) -> None:
    system = System(crontab=Outcome(0, CRONTAB.format(config=config)))
    first, second = crontab_lines(system, "/")
    assert (first.where, first.starts(config)) == ("crontab (@reboot)", True)
    assert (second.where, second.starts(config)) == ("crontab (*/5)", False)
    assert second.calls_old_script()
    (found,) = login_item(Starters(crontab=(first, second)), config, UID, system)
    assert (found.level, found.text) == ("ok", "crontab (@reboot) starts it")


@pytest.mark.parametrize("answer", [None, Outcome(1, "no crontab for a")])
def test_no_crontab(answer: Outcome | None) -> None:
    assert list(crontab_lines(System(crontab=answer), "/")) == []


@pytest.mark.parametrize("system", ["darwin", "linux"])
def test_what_there_is_on_each_system(system: str, tmp_path: Path, config: str) -> None:
    home = tmp_path / "home"
    agent(home / "Library" / "LaunchAgents", config, Label=f"only.{tmp_path.name}")
    unit(home / ".config" / "systemd" / "user", config, "")
    answers = System(crontab=Outcome(0, CRONTAB.format(config=config)))
    found = starters(system, {"HOME": str(home)}, answers)
    ours = [start.where for start in found.starts() if start.starts(config)]
    assert len(ours) == 2
    assert (".plist" in ours[0], ".service" in ours[0]) == (system == "darwin", system == "linux")
    *_, last = login_item(found, config, UID, answers, str(tmp_path))
    assert (last.level, "all start it, which one of them would do" in last.text) == ("note", True)


@pytest.mark.parametrize("system", ["darwin", "linux"])
def test_none_at_all(system: str, tmp_path: Path, config: str) -> None:
    found = starters(system, {"HOME": str(tmp_path)}, System())
    (note,) = login_item(found, config, UID, System())
    assert (note.level, note.text) == ("note", "it does not start at login")
    assert note.hint == "if it shall: atlasctl install"


# Asking the system ---------------------------------------------------------------------------


def test_programs_are_asked_in_english_and_for_a_bounded_time() -> None:
    ask = runner({"PATH": "/usr/bin:/bin", "LANG": "uk_UA.UTF-8"}, within=20.0)
    assert ask(("sh", "-c", "echo said; echo $LC_ALL >&2; exit 3")) == Outcome(3, "said\n\nC\n")
    assert ask(("sh", "-c", "kill -9 $$")).code is None
    assert ask(("no-such-program",)).code is None
    assert runner({}, within=0.05)(("sleep", "1000")) == Outcome(None, "\n\nno answer in 0.05 s")
