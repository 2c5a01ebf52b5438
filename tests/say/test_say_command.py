"""`atlasctl say` against a service that answers as the test says: what is heard, written, said."""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.fake_daemon import FakeDaemon
from tests.cli.fleets import Ctl, down, service
from tests.say.conftest import Ear
from tests.say.stand_in import StandIn, refusal, reply, sentence, stream, wav

YAML = "version: 1\nservices:\n  tts: {command: [sleep, '1000'], ports: [3001]}\n"

ONE, TWO, THREE = sentence(1000), sentence(2000), sentence(3000)


def give(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """Have this on standard input."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))


# To the ear ----------------------------------------------------------------------------------


def test_each_sentence_is_heard_before_the_next_has_come(
    ctl: Ctl, daemon: FakeDaemon, stand_in: StandIn, ear: Ear
) -> None:
    stand_in.answers = [stream(ONE, ear.wait_for(1), TWO, ear.wait_for(2), THREE)]
    assert ctl("say", "Раз.", "Раз.", "Два.") == (0, "", "")
    assert b"".join(ear.heard()) == ONE + TWO + THREE
    # Words that are said twice are meant twice.
    asked = {"text": "Раз. Раз. Два.", "return_audio": True, "stream": True}
    assert stand_in.asked == [asked]
    assert stand_in.headers[0]["Accept"] == "audio/wav"


def test_how_it_is_to_be_said_is_told_to_the_service(
    ctl: Ctl, daemon: FakeDaemon, stand_in: StandIn, ear: Ear
) -> None:
    stand_in.answers = [stream(ONE)]
    assert ctl("say", "--voice", "lada", "--speed", "1,5", "--fx", "robot", "Раз")[0] == 0
    said = {name: stand_in.asked[0][name] for name in ("voice", "speed", "fx")}
    assert said == {"voice": "lada", "speed": 1.5, "fx": "robot"}


@pytest.mark.parametrize("words", [(), ("-",)])
def test_standard_input_is_read(
    words: tuple[str, ...],
    ctl: Ctl,
    daemon: FakeDaemon,
    stand_in: StandIn,
    ear: Ear,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stand_in.answers = [stream(ONE)]
    give(monkeypatch, "\ufeffРаз,\nдва.\n".encode())
    assert ctl("say", *words) == (0, "", "")
    assert stand_in.asked[0]["text"] == "Раз,\nдва.\n"


def test_what_broke_off_goes_on_where_it_was_heard_to(
    ctl: Ctl, daemon: FakeDaemon, stand_in: StandIn, ear: Ear
) -> None:
    stand_in.answers = [stream(ONE, ear.wait_for(1), TWO[:500], cut=True), stream(ONE, TWO)]
    code, out, err = ctl("say", "Раз. Два.")
    assert (code, out) == (0, "")
    assert err.startswith("atlasctl: tts broke the connection off; trying again in 0.")
    assert b"".join(ear.heard()) == ONE + TWO
    assert "Prefer" not in stand_in.headers[0]
    assert stand_in.headers[1]["Prefer"] == "wait=30"


def test_another_voice_is_heard_from_its_start(
    ctl: Ctl, daemon: FakeDaemon, stand_in: StandIn, ear: Ear
) -> None:
    stand_in.answers = [stream(ONE, ear.wait_for(1), cut=True), stream(THREE, TWO)]
    assert ctl("say", "Раз. Два.")[0] == 0
    assert b"".join(ear.heard()) == ONE + THREE + TWO


def test_what_has_come_is_heard_before_the_failure_is_told(
    ctl: Ctl, daemon: FakeDaemon, stand_in: StandIn, ear: Ear
) -> None:
    stand_in.answers = [stream(ONE, ear.wait_for(1), cut=True), refusal(500, "Synthesis failed: x")]
    code, _, err = ctl("say", "Раз. Два.")
    assert (code, b"".join(ear.heard())) == (1, ONE)
    assert err.endswith("tts answered 500: Synthesis failed: x; see: atlasctl why tts\n")


# Players -------------------------------------------------------------------------------------


def test_without_a_player_nothing_is_asked(
    ctl: Ctl, daemon: FakeDaemon, stand_in: StandIn, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(root))
    code, out, err = ctl("say", "Раз")
    assert (code, out, stand_in.asked) == (1, "", [])
    assert "looked for afplay, pw-play, paplay, aplay, ffplay; " in err
    assert "atlasctl say -o FILE" in err


def test_a_player_that_cannot_leaves_it_to_the_next(
    ctl: Ctl, daemon: FakeDaemon, stand_in: StandIn, ear: Ear
) -> None:
    (ear.bin / "afplay").rename(ear.bin / "aplay")
    ear.player("pw-play", f"echo x >>{ear.bin}/tried; echo 'no server' >&2; exit 1")
    stand_in.answers = [stream(ONE, ear.wait_for(1), TWO)]
    assert ctl("say", "Раз. Два.") == (0, "", "")
    assert b"".join(ear.heard()) == ONE + TWO
    assert (ear.bin / "tried").read_text() == "x\n", "not tried again for the second sentence"


def test_players_that_all_fail_are_quoted(
    ctl: Ctl, daemon: FakeDaemon, stand_in: StandIn, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(ear.bin))
    ear.player("afplay", "echo 'no server' >&2; exit 1")
    ear.player("aplay", "exit 3")
    stand_in.answers = [stream(ONE)]
    code, _, err = ctl("say", "Раз")
    assert code == 1
    assert "nothing here can play it (afplay: no server; aplay: exited with code 3)" in err
    assert "atlasctl say -o FILE" in err


# Into a file ---------------------------------------------------------------------------------


def test_a_file_is_written(ctl: Ctl, daemon: FakeDaemon, stand_in: StandIn, root: Path) -> None:
    (root / "tts.wav").write_bytes(b"old")
    stand_in.answers = [reply(200, "audio/wav", wav(ONE), X_TTS_Engine="espeak")]
    code, out, err = ctl("say", "Раз", "-o", "tts.wav")
    assert (code, out, err) == (0, "tts.wav: 0.3 s, spoken by espeak\n", "")
    assert (root / "tts.wav").read_bytes() == wav(ONE)
    assert stand_in.asked[0]["stream"] is False
    assert not list(root.glob("*.new"))


def test_a_link_stays_one(ctl: Ctl, daemon: FakeDaemon, stand_in: StandIn, root: Path) -> None:
    (root / "link.wav").symlink_to("real.wav")
    stand_in.answers = [reply(200, "audio/wav", wav(ONE))]
    assert ctl("say", "-o", "link.wav", "Раз")[0] == 0
    assert (root / "link.wav").is_symlink()
    assert (root / "real.wav").read_bytes() == wav(ONE)


def test_standard_output_has_the_sound_and_nothing_else(
    root: Path,
    daemon: FakeDaemon,
    stand_in: StandIn,
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    from supervisor.cli.__main__ import main

    stand_in.answers = [
        reply(200, "audio/wav", wav(ONE, 9_000_000)[:1000]),
        reply(200, "audio/wav", wav(ONE)),
    ]
    assert main(["say", "-o", "-", "Раз"]) == 1
    assert capsysbinary.readouterr().out == b"", "not half of it"
    assert main(["say", "-o", "-", "Раз"]) == 0
    assert capsysbinary.readouterr().out == wav(ONE)


BAD = {
    "json": (reply(200, "application/json", b'{"status": "success"}'), 1, "(application/json)"),
    "page": (reply(200, "text/html", b"<html>"), 1, "something else than sound (text/html)"),
    "not-wav": (reply(200, "audio/wav", b"{" + bytes(99)), 1, "is no WAV of 16 bit mono"),
    "empty": (reply(200, "audio/wav", b""), 1, "it has 0 bytes"),
    "no-sound": (reply(200, "audio/wav", wav(b"")), 1, "no sound"),
    "cut": (reply(200, "audio/wav", wav(ONE[:2000], 3000)), 1, "2000 of 3000 bytes"),
    "voice": (refusal(400, 'Unknown voice "x": choose one of lada'), 2, "choose one of lada"),
    "openai": (refusal(422, {"message": "bad input"}), 2, "tts answered 422: bad input"),
    "fault": (refusal(500, "x\x1b[2J"), 1, "tts answered 500: x\\x1b[2J; see: atlasctl why tts"),
    "bare": (reply(404, "text/html", b"<h1>404</h1>"), 2, "atlasctl: tts answered 404\n"),
    "moved": (reply(301, "text/html", b"", Location="/x"), 1, "tts answered 301"),
}


@pytest.mark.parametrize("bad", BAD)
def test_what_is_no_sound_is_never_taken_for_it(
    bad: str, ctl: Ctl, daemon: FakeDaemon, stand_in: StandIn, ear: Ear, root: Path
) -> None:
    answer, code, said = BAD[bad]
    (root / "old.wav").write_bytes(b"old")
    for options in ((), ("-o", "old.wav")):
        stand_in.answers = [answer]
        got, out, err = ctl("say", "Раз", *options)
        assert (got, out) == (code, "")
        assert said in err
        assert err.count("\n") == 1
    assert ear.heard() == []
    assert (root / "old.wav").read_bytes() == b"old"
    assert not list(root.glob("*.new"))
    assert len(stand_in.asked) == 2, "asked again in vain"


def test_what_passes_is_asked_for_again(
    ctl: Ctl, daemon: FakeDaemon, stand_in: StandIn, root: Path
) -> None:
    busy = refusal(503, "Overloaded: 8 wait", Retry_After="0")
    stand_in.answers = [busy, reply(200, "audio/wav", wav(ONE))]
    code, _, err = ctl("say", "Раз", "-o", "x.wav")
    assert code == 0
    assert err.startswith("atlasctl: tts answered 503: Overloaded: 8 wait; trying again in 0.")
    assert (root / "x.wav").read_bytes() == wav(ONE)


@pytest.mark.parametrize(
    ("path", "code", "said"),
    [
        ("none/x.wav", 1, "cannot write none/x.wav: No such file or directory"),
        (".", 2, ". is a folder; name a file in it"),
    ],
)
def test_where_nothing_can_be_written_nothing_is_asked(
    path: str, code: int, said: str, ctl: Ctl, daemon: FakeDaemon, stand_in: StandIn
) -> None:
    assert ctl("say", "Раз", "-o", path) == (code, "", f"atlasctl: {said}\n")
    assert stand_in.asked == []


# What is typed -------------------------------------------------------------------------------


def huge() -> bytes:
    return b"a" * (1024 * 1024 + 1)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda: b" \n", "there is no text to say"),
        (lambda: b"\xd0", "standard input is not UTF-8, from byte 0 on"),
        (huge, "the text is over 1.0 MiB; say it in parts"),
    ],
    ids=["nothing", "not-utf8", "too-much"],
)
def test_what_is_no_text_is_refused(
    given: Callable[[], bytes], said: str, ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, given())
    code, _, err = ctl("say")
    assert (code, said in err) == (2, True)


def test_a_terminal_is_not_read_unasked_and_shows_no_sound(
    ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal(io.BytesIO()))
    assert ctl("say")[0] == 2
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    code, _, err = ctl("say", "-o", "-", "Раз")
    assert (code, "-o FILE" in err) == (2, True)


def test_a_text_that_is_no_text_in_argv(ctl: Ctl) -> None:
    assert ctl("say", "\udcff") == (2, "", "atlasctl: the text is not UTF-8\n")


def test_a_speed_that_is_none(ctl: Ctl) -> None:
    code, _, err = ctl("say", "--speed", "nan", "Раз")
    assert (code, "'nan' is not a number, like 1.2" in err) == (2, True)


# The service ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (down("tts"), "tts is stopped: stop asked: by a client; start it: atlasctl up tts"),
        (
            down("tts", state="failed", goal="up", reason="gave up"),
            "tts is failed: gave up; see: atlasctl why tts",
        ),
        (
            service("tts", state="broken", ready=False, reason="500 \x1b"),
            r"tts is broken: 500 \x1b; see: atlasctl why tts",
        ),
    ],
    ids=["stopped", "failed", "broken"],
)
def test_a_service_that_cannot_speak(
    found: object, said: str, ctl: Ctl, root: Path, ear: Ear
) -> None:
    with FakeDaemon(root, [found]):  # type: ignore[list-item]
        assert ctl("say", "Раз") == (1, "", f"atlasctl: {said}\n")


def test_a_service_that_loads_is_waited_for(
    ctl: Ctl, root: Path, stand_in: StandIn, ear: Ear
) -> None:
    loading = service("tts", state="loading", ready=False, reason="waiting for the startup probe")
    stand_in.answers = [stream(ONE)]
    with FakeDaemon(root, [loading], [loading], [service("tts", ports=[stand_in.port])]):
        code, _, err = ctl("say", "Раз")
    assert code == 0
    said = "tts is loading: waiting for the startup probe; waiting for 2 min at most"
    assert err == f"atlasctl: {said}\n"
    assert b"".join(ear.heard()) == ONE


def test_a_service_that_loads_for_too_long(ctl: Ctl, root: Path, ear: Ear) -> None:
    with FakeDaemon(root, [service("tts", state="loading", ready=False, reason="slow")]):
        code, _, err = ctl("say", "Раз", "--timeout", "200ms")
    assert code == 1
    assert err.endswith("tts is loading: slow (waited 0.2 s); see: atlasctl why tts\n")


def test_no_daemon_and_no_such_service(ctl: Ctl, root: Path, ear: Ear) -> None:
    assert ctl("say", "Раз")[0] == 3
    with FakeDaemon(root, [service("stt", ports=[1])]):
        assert ctl("say", "Раз") == (
            2,
            "",
            "atlasctl: no service is called 'tts'; did you mean stt?\n",
        )
    with FakeDaemon(root, [service("tts")]):
        code, _, err = ctl("say", "Раз")
    assert (code, "tts has no port" in err) == (2, True)


def test_another_service_speaks(ctl: Ctl, root: Path, stand_in: StandIn, ear: Ear) -> None:
    stand_in.answers = [stream(ONE)]
    with FakeDaemon(root, [down("tts"), service("voice", ports=[stand_in.port])]):
        assert ctl("say", "--service", "voice", "Раз")[0] == 0
    assert b"".join(ear.heard()) == ONE
