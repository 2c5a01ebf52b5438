"""`atlasctl say` with the service itself and its eSpeak voice."""

import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.fake_daemon import FakeDaemon
from tests.cli.fleets import Ctl, service
from tests.e2e.conftest import free_port
from tests.say.conftest import Ear
from tests.tts.conftest import launch  # noqa: F401
from tests.tts.processes import ServerProcess

YAML = "version: 1\nservices:\n  tts: {command: [sleep, '1000'], ports: [3001]}\n"


@pytest.fixture
def speaking(
    root: Path,
    launch: Callable[..., ServerProcess],  # noqa: F811
) -> Iterator[None]:
    port = free_port()
    launch("--port", str(port)).wait_until_ready()
    with FakeDaemon(root, [service("tts", ports=[port])]):
        yield


def test_the_service_is_heard_and_written_and_refuses(
    speaking: None, ctl: Ctl, ear: Ear, root: Path
) -> None:
    text = "# Заголовок\n\nДобрий день! 🙂 Сьогодні 21 градус. Мене звати **Лада**."
    code, _, err = ctl("say", text)
    assert (code, err) == (0, "")
    heard = b"".join(ear.heard())
    assert len(heard) > 3 * 44_100
    code, out, err = ctl("say", "-o", "x.wav", text)
    assert (code, err) == (0, "")
    assert out.endswith(" s, spoken by espeak\n")
    with wave.open(str(root / "x.wav")) as file:
        assert 2 * file.getnframes() == pytest.approx(len(heard), rel=0.02)
    code, _, err = ctl("say", "--voice", "bob", text)
    assert (code, err.startswith('atlasctl: tts answered 400: Unknown voice "bob": ')) == (2, True)
    code, _, err = ctl("say", "🙂")
    assert (code, "Text has nothing that can be spoken" in err) == (2, True)
