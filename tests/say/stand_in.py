"""A speech service that answers as a test says, and WAVs whose sentences can be told apart."""

import contextlib
import json
import struct
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DEADLINE = 20.0
RATE = 22050
PAUSE = bytes(RATE // 4 * 2)


def sentence(level: int, samples: int = 2000) -> bytes:
    """Return sound without a silent sample, and the pause after it."""
    return struct.pack("<h", level) * samples + PAUSE


def wav(sound: bytes, size: int | None = None) -> bytes:
    """Return a file, with true sizes or with the one that is given."""
    announced = len(sound) if size is None else size
    riff = min(0xFFFFFFFF, announced + 36)
    fields = (16, 1, 1, RATE, 2 * RATE, 2, 16, b"data", announced)
    return struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", riff, b"WAVE", b"fmt ", *fields) + sound


Handler = BaseHTTPRequestHandler
Answer = Callable[[Handler], None]
Step = bytes | Callable[[], None]


def reply(status: int, kind: str, body: bytes, **headers: str) -> Answer:
    """Answer this, whole."""

    def answer(handler: Handler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def refusal(status: int, error: object, **headers: str) -> Answer:
    """Answer an error as the service does."""
    return reply(status, "application/json", json.dumps({"error": error}).encode(), **headers)


def stream(*steps: Step, cut: bool = False, engine: str = "stand-in") -> Answer:
    """Send a WAV of unknown length part by part; between parts wait for something.

    `cut`: break off instead of ending.
    """

    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "audio/wav")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.send_header("X-TTS-Engine", engine)
        handler.end_headers()
        for step in (wav(b"", 0xFFFFFFFF), *steps):
            if isinstance(step, bytes):
                handler.wfile.write(b"%x\r\n%b\r\n" % (len(step), step))
            else:
                step()
        if not cut:
            handler.wfile.write(b"0\r\n\r\n")

    return answer


def raw(data: bytes) -> Answer:
    """Send these bytes, HTTP or not, and close."""

    def answer(handler: Handler) -> None:
        handler.wfile.write(data)

    return answer


class StandIn:
    """Gives each request the next of `answers`; what was asked is in `asked` and `headers`."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.asked: list[dict[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self.came = threading.Event()
        self.left = threading.Event()
        self.failures: list[BaseException] = []
        stand_in = self

        class Answering(Handler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:  # noqa: N802
                self.close_connection = True
                length = int(self.headers["Content-Length"])
                stand_in.asked.append(json.loads(self.rfile.read(length)))
                stand_in.headers.append(dict(self.headers.items()))
                stand_in.came.set()
                try:
                    stand_in.answers.pop(0)(self)
                except (BrokenPipeError, ConnectionResetError):
                    pass
                except BaseException as failure:  # noqa: BLE001 - raised by `close`
                    stand_in.failures.append(failure)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self._server.daemon_threads = False
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def wait_until_left(self, handler: Handler) -> None:
        """Answer nothing (more), and note that the client has left."""
        connection = handler.connection
        connection.settimeout(DEADLINE)
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b"", "the client sends more"
        self.left.set()

    def close(self) -> None:
        """End; raise what went wrong in an answer."""
        self._server.shutdown()
        self._thread.join(DEADLINE)
        self._server.server_close()
        assert self.failures == []
