"""`python -m services.tts`: settings, sockets, engine, server, and a stop that drops nothing.

The sockets listen before anything slow is imported, so clients of a restart wait in the backlog
instead of being refused. Exit codes: 0 stopped as asked, 1 no address to listen on, 2 bad settings.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from services.tts import sockets
from services.tts.engines import ENGINES, EngineName, create

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence
    from types import FrameType

    from services.tts.server import Server
    from services.tts.text import Spoken

log = logging.getLogger("tts")

DEFAULT_PORT: Final = 3001
DEVICES: Final = ("auto", "cpu", "mps", "cuda", "gpu")
MAX_QUEUE: Final = 64
MAX_DRAIN_SECONDS: Final = 3600.0
MAX_CACHE_MIB: Final = 1024 * 1024
DEFAULT_MODEL_DIR: Final = os.path.join("models", "ukrainian-tts")

HOLD_BACK: Final = 90.0
"""Seconds for which a server that is to take over lets the other one speak, while its own voice
loads; less than the startup probe of config/services.yaml waits."""

_CLOSE_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Settings:
    """How this process serves. Durations are in seconds; `device` is resolved (`gpu` is `cuda`)."""

    host: str
    port: int
    device: str
    engine: EngineName
    queue: int
    sentence_limit: float
    drain_timeout: float
    model_dir: str
    exact: bool
    cache_dir: str | None
    cache_bytes: int
    doctor: bool


def settings(argv: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Reads the command line over the environment; exits with 2 and one line when it is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m services.tts",
        description="Ukrainian text-to-speech over HTTP.",
        epilog="Environment: TTS_PORT, TTS_DEVICE, TTS_MODEL_DIR and TTS_CACHE_DIR stand for the "
        "options of these names, which win; TTS_EXACT=1 stands for --exact. "
        "REAL_TTS_MODE, which old launchers set, is accepted and changes nothing: this server has "
        "no other mode than to speak. LISTEN_FDS sockets win over --host and --port.",
        allow_abbrev=False,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address (default: %(default)s)")
    parser.add_argument("--port", help=f"TCP port, 0 for any free one (default: {DEFAULT_PORT})")
    parser.add_argument("--device", help=f"one of {', '.join(DEVICES)} (default: auto)")
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="auto",
        help="auto: the neural voice, and eSpeak NG while that cannot speak; ukrainian: the neural "
        "voice alone; espeak: eSpeak NG alone (default: %(default)s)",
    )
    parser.add_argument(
        "--model-dir", help=f"files of the neural voice (default: {DEFAULT_MODEL_DIR})"
    )
    parser.add_argument(
        "--exact", action="store_true", help="trade no precision for speed in the neural voice"
    )
    parser.add_argument(
        "--cache-dir", help="keep spoken phrases in this folder too (default: in memory alone)"
    )
    parser.add_argument(
        "--cache-size", default="256", help="MiB of phrases in it (default: %(default)s)"
    )
    parser.add_argument(
        "--queue", default="8", help="requests that may wait (default: %(default)s)"
    )
    parser.add_argument(
        "--sentence-limit",
        default="60",
        help="seconds after which one sentence counts as hung (default: %(default)s)",
    )
    parser.add_argument(
        "--drain-timeout",
        default="8",
        help="seconds to finish accepted requests after SIGTERM (default: %(default)s)",
    )
    parser.add_argument(
        "--doctor",
        action="store_true",
        help="tell what stands in the way of the neural voice, as lines of JSON, and serve nothing",
    )
    parsed = parser.parse_args(argv)

    def setting(flag: str, given: str | None, variable: str, default: str) -> tuple[str, str]:
        if given is not None:
            return flag, given
        # An empty variable is what `TTS_PORT=` in an env file gives: the same as none.
        from_env = environ.get(variable, "").strip()
        return (variable, from_env) if from_env else (flag, default)

    def number(name: str, value: str, low: float, high: float) -> float:
        try:
            parsed_number = float(value)
        except ValueError:
            parsed_number = float("nan")
        if not low <= parsed_number <= high:
            parser.error(f"{name} is {value!r}: a number from {low:g} to {high:g} is expected")
        return parsed_number

    def whole(name: str, value: str, low: int, high: int) -> int:
        if not (value.isascii() and value.isdigit() and low <= int(value[:12]) <= high):
            parser.error(f"{name} is {value!r}: a whole number from {low} to {high} is expected")
        return int(value)

    def flag(variable: str) -> bool:
        value = environ.get(variable, "").strip().lower()
        if value not in ("", "0", "1", "false", "true"):
            parser.error(f"{variable} is {value!r}: 0 or 1 is expected")
        return value in ("1", "true")

    device_name, device = setting("--device", parsed.device, "TTS_DEVICE", "auto")
    if device.lower() not in DEVICES:
        parser.error(f"{device_name} is {device!r}: choose one of {', '.join(DEVICES)}")
    return Settings(
        host=parsed.host,
        port=whole(*setting("--port", parsed.port, "TTS_PORT", str(DEFAULT_PORT)), 0, 65_535),
        device="cuda" if device.lower() == "gpu" else device.lower(),
        engine=parsed.engine,
        queue=whole("--queue", parsed.queue, 1, MAX_QUEUE),
        sentence_limit=number("--sentence-limit", parsed.sentence_limit, 0.1, 3600.0),
        drain_timeout=number("--drain-timeout", parsed.drain_timeout, 0.0, MAX_DRAIN_SECONDS),
        model_dir=setting("--model-dir", parsed.model_dir, "TTS_MODEL_DIR", DEFAULT_MODEL_DIR)[1],
        exact=parsed.exact or flag("TTS_EXACT"),
        cache_dir=setting("--cache-dir", parsed.cache_dir, "TTS_CACHE_DIR", "")[1] or None,
        cache_bytes=whole("--cache-size", parsed.cache_size, 1, MAX_CACHE_MIB) * 1024 * 1024,
        doctor=parsed.doctor,
    )


def main() -> int:
    """Serves until SIGTERM or SIGINT and returns the exit code."""
    # What an Apple GPU lacks is then done by the CPU. PyTorch reads it when it is first imported;
    # whoever set it otherwise is obeyed.
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    chosen = settings(sys.argv[1:], os.environ)
    if chosen.doctor:
        from services.tts import doctor

        return doctor.run(
            engine=chosen.engine,
            device=chosen.device,
            model_dir=chosen.model_dir,
            exact=chosen.exact,
        )
    stop = _Stop()
    # A crash inside a C library would otherwise end the log without a word.
    faulthandler.enable()
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stdout,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    try:
        handed_over = sockets.take_handed_over(os.environ)
        listening = handed_over.public or sockets.bind(chosen.host, chosen.port)
    except sockets.SocketError as error:
        print(f"services.tts: {error}", file=sys.stderr, flush=True)
        return 1
    where = ", ".join(sockets.url(sock) for sock in listening)
    if handed_over.public:
        log.info("listening on %s (handed over; --host and --port are not used)", where)
    else:
        log.info("listening on %s", where)
    if handed_over.private:
        log.info("another server speaks there until the voice of this one is loaded")
    return _serve(chosen, listening, handed_over, stop)


class _Stop:
    """What SIGTERM and SIGINT ask for: the first to drain, the second to end at once.

    It is in place before the server is, so that a stop during the imports is not a crash.
    """

    def __init__(self) -> None:
        self._requested = False
        self._server: Server | None = None
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)

    def attach(self, server: Server) -> None:
        self._server = server
        if self._requested:
            server.stop()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self._requested:
            _exit_now(number)
        self._requested = True
        if self._server is not None:
            self._server.stop()


def _serve(
    chosen: Settings,
    listening: Sequence[socket.socket],
    handed_over: sockets.HandedOver,
    stop: _Stop,
) -> int:
    from services.tts.cache import PhraseCache
    from services.tts.chain import Chain
    from services.tts.worker import Worker

    engines = create(
        chosen.engine,
        device=chosen.device,
        model_dir=chosen.model_dir,
        sentence_limit=chosen.sentence_limit,
        exact=chosen.exact,
    )
    chain = Chain(
        engines.preferred,
        engines.stand_in,
        sentence_limit=chosen.sentence_limit,
        prepare=_warm_text,
        hold_back=HOLD_BACK if handed_over.private else 0.0,
    )
    phrases = PhraseCache(
        None if chosen.cache_dir is None else Path(chosen.cache_dir),
        disk_bytes=chosen.cache_bytes,
    )
    worker = Worker(chain, queue=chosen.queue, phrases=phrases)
    worker.start()

    from services.tts.app import create_app
    from services.tts.server import Server

    loopback_only = all(sockets.is_loopback(sock) for sock in listening)
    if not loopback_only:
        log.warning("other machines can reach this server, and it asks for no password")
    server = Server(
        create_app(worker, normalise=_normalise, loopback_only=loopback_only),
        handed_over.private or listening,
        waiting=chosen.queue + 1,
        later=listening if handed_over.private else (),
    )
    stop.attach(server)
    server.run(open_when=chain.is_settled)

    log.info("stopping: answering what was accepted, for %g s at most", chosen.drain_timeout)
    started = time.monotonic()
    cut = server.drain(timeout=chosen.drain_timeout, take_backlog=not handed_over.public)
    if cut:
        log.warning("%d connections were cut off unanswered", cut)
    if not worker.close(timeout=_CLOSE_SECONDS):
        log.warning("an engine does not come back; leaving it")
    server.close()
    log.info("stopped after %.1f s", time.monotonic() - started)
    return 0


def _warm_text() -> None:
    from services.tts import text

    text.warm()


def _normalise(raw: str) -> Spoken:
    from services.tts import text

    return text.spoken(raw)


def _exit_now(number: int) -> NoReturn:
    # Not sys.exit: threads in a synthesis would be waited for.
    os._exit(128 + number)


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    sys.stdout.flush()
    # Not sys.exit either: a daemon thread stuck in a C call can crash an interpreter that ends.
    os._exit(code)
