import contextlib
import io
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.cli.__main__ import main
from supervisor.cli.arguments import options_of, read
from supervisor.cli.commands import COMMANDS
from supervisor.cli.exits import LEGEND, CommandError, ExitStatus
from supervisor.cli.invocation import Invocation

SHOWN = [command for command in COMMANDS if not command.hidden]


def parse(*argv: str) -> Invocation:
    return read(argv, {})


def complaint(*argv: str) -> str:
    with pytest.raises(CommandError) as raised:
        parse(*argv)
    assert raised.value.status == ExitStatus.USAGE
    return f"{raised.value.message}; {raised.value.hint}"


def test_defaults() -> None:
    call = parse("up")
    assert call.run == "lifecycle:up"
    assert call.services == ()
    assert call.wait
    assert call.timeout == 120.0
    assert parse("stop").timeout == 60.0


def test_options_of_up() -> None:
    call = parse("up", "--no-wait", "--timeout", "1h30m", "tts", "stt", "tts")
    assert not call.wait
    assert call.timeout == 5400.0
    assert call.services == ("tts", "stt")


@pytest.mark.parametrize("argv", [("-c", "a.yaml", "status"), ("status", "-c", "a.yaml")])
def test_global_options_stand_before_or_after_the_command(argv: tuple[str, ...]) -> None:
    assert parse(*argv).config == "a.yaml"
    assert parse(*argv).color == "auto"


def test_color_before_the_command_is_kept() -> None:
    assert parse("--color", "always", "status").paint.on
    assert not parse("--color", "always", "status", "--color=never").paint.on


def test_options_of_reload_and_upgrade() -> None:
    assert parse("reload", "--rolling", "--json", "--no-wait").rolling
    assert not parse("reload").rolling
    assert parse("restart", "--rolling", "tts").rolling
    assert parse("reload").timeout == 120.0
    # The new code alone may take a minute to prove itself.
    assert parse("upgrade").timeout == 90.0
    assert "unrecognized" in complaint("stop", "--rolling")


def test_logs_options() -> None:
    before = time.time()
    call = parse("logs", "-f", "-t", "-n", "20", "--since", "10m", "tts")
    assert (call.follow, call.timestamps, call.lines) == (True, True, 20)
    assert call.since is not None
    assert before - 600 <= call.since <= time.time() - 600


@pytest.mark.usefixtures("kyiv_time")
def test_since_takes_local_and_absolute_times() -> None:
    assert parse("logs", "--since", "2026-07-25T20:20:00").since == 1_785_000_000.0
    assert parse("logs", "--since", "2026-07-25T17:20:00+00:00").since == 1_785_000_000.0
    assert parse("logs", "--since", "2026-07-25").since == 1_785_000_000.0 - 73_200


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("stauts",), "there is no command 'stauts'; did you mean status?"),
        (("xyzzy",), "there is no command 'xyzzy'; see: atlasctl --help"),
        (("status", "--wach"), "did you mean --watch?"),
        (("up", "--timeout", "120"), "120 has no unit; write 120s"),
        (("up", "--timeout", "-5s"), "--timeout"),
        (("logs", "-n", "many"), "'many' is not a number, like 100"),
        (("logs", "--since", "2026-13-45"), "is not a time like"),
        (("logs", "--since", "yesterday"), "is not a duration"),
        (("why", "a", "b"), "unrecognized arguments: b"),
        (("completion", "tcsh"), "tcsh"),
        (("--color", "sometimes", "status"), "sometimes"),
        ((), "no command given"),
    ],
)
def test_what_cannot_be_understood_is_said_with_a_hint(argv: tuple[str, ...], said: str) -> None:
    assert said in complaint(*argv)


@given(st.lists(st.text(max_size=8) | st.sampled_from(["up", "-f", "-c", "--color", "logs"])))
def test_any_arguments_give_a_call_or_a_complaint(argv: list[str]) -> None:
    wrong: CommandError | None = None
    left: SystemExit | None = None
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            assert ":" in read(argv, {}).run
        except CommandError as error:
            wrong = error
        except SystemExit as leaving:
            left = leaving
    assert wrong is None or wrong.status == ExitStatus.USAGE
    assert left is None or left.code == 0


@pytest.mark.parametrize("command", SHOWN, ids=lambda command: command.name)
def test_help_of_every_command_names_the_exit_codes(
    command: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(command, type(SHOWN[0]))
    assert main([command.name, "--help"]) == 0
    text = capsys.readouterr().out
    assert LEGEND.strip() in text
    assert all(option in text for option in options_of(command))


@pytest.mark.parametrize("command", SHOWN, ids=lambda command: command.name)
def test_help_fits_into_a_terminal(
    command: object, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(command, type(SHOWN[0]))
    monkeypatch.setenv("COLUMNS", "80")
    assert main([command.name, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if len(line) > 80] == []


def test_a_dry_run_says_of_what(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("install", "uninstall", "clean"):
        assert main([name, "--help"]) == 0
        assert "--dry-run   show what it would do" in re.sub(
            r" {3,}", "   ", capsys.readouterr().out
        )
    assert main(["remedies", "--help"]) == 0
    assert "show what would have been done of late" in capsys.readouterr().out


def test_help_lists_every_command_and_no_hidden_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"    {command.name} " in text for command in SHOWN)
    assert "_services" not in text
    assert LEGEND.strip() in text


def test_a_wrong_command_ends_with_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stauts"]) == 2
    captured = capsys.readouterr()
    assert captured.err == "atlasctl: there is no command 'stauts'; did you mean status?\n"
    assert captured.out == ""
