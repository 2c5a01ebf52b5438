"""`say`: speak a text through the system's speech service, to the ear or into a file."""

import contextlib
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import BinaryIO, Final

from supervisor.cli import wording
from supervisor.cli.connection import short_path
from supervisor.cli.exits import CommandError, ExitStatus, Interrupted
from supervisor.cli.invocation import Invocation
from supervisor.cli.speech.draft import draft, unwritable
from supervisor.cli.speech.exchange import Limits, Order, Reply, asked
from supervisor.cli.speech.failure import SpeechError
from supervisor.cli.speech.persistence import persist
from supervisor.cli.speech.player import Player
from supervisor.cli.speech.speaker import Speaker
from supervisor.cli.speech.utterance import Utterance
from supervisor.cli.speech.wave import HEADER, read_header
from supervisor.cli.terminal import is_terminal, warn

MAX_TEXT: Final = 1024 * 1024
"""Bytes, as the service's own limit of a request."""
_WHOLE: Final = 660.0
"""Seconds; the service gives up a text itself after 600."""
_STREAMED: Final = Limits(silence=90.0, whole=_WHOLE)
_IN_ONE: Final = Limits(silence=_WHOLE, whole=_WHOLE)
_LOADING_SECONDS: Final = 30
_JOINED_WITHIN: Final = 2.0


def say(call: Invocation) -> int:
    """Speak what was given, or write it to a file as WAV."""
    if call.sound_file == "-" and is_terminal(sys.stdout):
        raise CommandError(
            ExitStatus.USAGE,
            "sound is nothing for a terminal to show",
            "let another program read it, or name a file: -o FILE",
        )
    order = Order(_text(call.words), call.voice, call.speed, call.fx)
    with _ended_tidily():
        conversation = _Conversation(call, order)
        try:
            if call.sound_file is None:
                _play(conversation)
            else:
                _save(conversation, call.sound_file)
        except SpeechError as error:
            raise _last_word(error, call.speaker) from None
    return ExitStatus.AS_ASKED


def _text(words: tuple[str, ...]) -> str:
    if words in ((), ("-",)):
        text = _read_text(asked_for=bool(words))
    else:
        text = " ".join(words)
        try:
            text.encode()
        except UnicodeEncodeError:
            raise CommandError(ExitStatus.USAGE, "the text is not UTF-8") from None
    if not text.strip():
        raise CommandError(ExitStatus.USAGE, "there is no text to say", "atlasctl say TEXT")
    return text


def _read_text(*, asked_for: bool) -> str:
    if not asked_for and is_terminal(sys.stdin):
        raise CommandError(
            ExitStatus.USAGE, "there is no text to say", "atlasctl say TEXT, or `-` to type it here"
        )
    data = sys.stdin.buffer.read(MAX_TEXT + 1)
    if len(data) > MAX_TEXT:
        raise CommandError(
            ExitStatus.USAGE, f"the text is over {wording.size(MAX_TEXT)}", "say it in parts"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CommandError(
            ExitStatus.USAGE, f"standard input is not UTF-8, from byte {error.start} on"
        ) from None


class _Conversation:
    """Asks for one text, as often as it takes."""

    def __init__(self, call: Invocation, order: Order) -> None:
        self.cancelled = threading.Event()
        self.engine = ""
        self._speaker = Speaker(call.system(), call.speaker, call.timeout, self.cancelled)
        self._order = order
        self._notice = ""

    @contextlib.contextmanager
    def reply(self, limits: Limits, *, streamed: bool, patient: bool = False) -> Iterator[Reply]:
        """Ask once. `patient`: rather wait for the voice that it began with than take another."""
        port = self._speaker.port()
        content = self._order.content(streamed=streamed)
        headers = {"Prefer": f"wait={_LOADING_SECONDS}"} if patient else {}
        name, cancelled = self._speaker.name, self.cancelled
        with asked(name, port, content, limits, cancelled, warn, headers=headers) as reply:
            self.engine = reply.engine
            # For ears that wonder about the voice, once; a log need not have it of each text.
            if reply.notice not in ("", self._notice) and is_terminal(sys.stderr):
                self._notice = reply.notice
                warn(f"{name} speaks otherwise than asked: {reply.notice}")
            yield reply


def _play(conversation: _Conversation) -> None:
    player = Player(os.environ)
    try:
        with tempfile.TemporaryDirectory(prefix="atlasctl-say-") as folder:
            part = os.path.join(folder, "part.wav")
            with _coming(conversation, folder) as utterance:
                while (seconds := utterance.take(part)) is not None:
                    player.play(part, seconds)
    except OSError as error:
        raise unwritable(error.filename or tempfile.gettempdir(), error) from None


@contextlib.contextmanager
def _coming(conversation: _Conversation, folder: str) -> Iterator[Utterance]:
    """Give what a thread brings meanwhile; at the end of the block it brings no more."""
    utterance = Utterance(folder)

    def attempt() -> None:
        utterance.restart()
        with conversation.reply(_STREAMED, streamed=True, patient=utterance.is_begun) as reply:
            for data in reply.chunks:
                utterance.append(data)
            utterance.end()

    def bring() -> None:
        try:
            persist(attempt, warn, conversation.cancelled)
        except BaseException as error:  # noqa: BLE001 - raised where the sound is waited for
            utterance.fail(error)

    # Whatever a daemon that is stopped keeps it waiting for, it does not keep us from ending.
    thread = threading.Thread(target=bring, name="say", daemon=True)
    thread.start()
    try:
        yield utterance
    finally:
        conversation.cancelled.set()
        thread.join(_JOINED_WITHIN)
        utterance.close()


def _save(conversation: _Conversation, path: str) -> None:
    try:
        with draft(path) as file:
            seconds = persist(lambda: _receive(conversation, file), warn, conversation.cancelled)
    except KeyboardInterrupt:
        name = "the sound" if path == "-" else short_path(path)
        raise Interrupted(f"{name} was not written") from None
    except BrokenPipeError:
        raise
    except OSError as error:
        raise unwritable(path, error) from None
    if path != "-":
        by = f", spoken by {conversation.engine}" if conversation.engine else ""
        print(f"{short_path(path)}: {wording.duration(seconds)}{by}")


def _receive(conversation: _Conversation, file: BinaryIO) -> float:
    file.seek(0)
    file.truncate()
    with conversation.reply(_IN_ONE, streamed=False) as reply:
        for data in reply.chunks:
            file.write(data)
    size = max(0, file.tell() - HEADER)
    file.seek(0)
    wave = read_header(file.read(HEADER))
    wave.check(size)
    return wave.seconds(size)


@contextlib.contextmanager
def _ended_tidily() -> Iterator[None]:
    """Let SIGTERM and a closed terminal end it as Ctrl-C does: with no player and no draft left."""

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    mine = [number for number, handler in before.items() if handler is signal.SIG_DFL]
    for number in mine:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in mine:
            signal.signal(number, signal.SIG_DFL)


def _last_word(error: SpeechError, name: str) -> CommandError:
    if error.mendable:
        return CommandError(ExitStatus.USAGE, error.message)
    return CommandError(ExitStatus.NOT_REACHED, error.message, f"see: atlasctl why {name}")
