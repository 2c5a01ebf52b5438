"""A voice with one thread, which fails as the file that it is given says; read at each request.

`acting.py FILE`: the file has `well`, or how `POST /tts` is to fail: `500`, `empty`, `json`,
`stuck`. `/health` is answered with `tts_ready: true` whatever happens. A text of `long` is spoken
until there is a file FILE.go.
"""

import io
import json
import socket
import sys
import time
import wave
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

ACT = Path(sys.argv[1])
GO = ACT.with_suffix(".go")


def speech() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(8000))
    return file.getvalue()


def stuck_in_the_engine() -> None:
    while True:
        time.sleep(0.05)


def speak_at_length() -> None:
    deadline = time.monotonic() + 120
    while not GO.exists() and time.monotonic() < deadline:
        time.sleep(0.02)


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._reply(200, "application/json", json.dumps({"tts_ready": True}).encode())

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if asked["text"] == "long":
            speak_at_length()
        match ACT.read_text():
            case "500":
                error = {"error": "the operator is not implemented"}
                self._reply(500, "application/json", json.dumps(error).encode())
            case "empty":
                self._reply(200, "audio/wav", b"")
            case "json":
                self._reply(200, "application/json", b'{"status": "success"}')
            case "stuck":
                stuck_in_the_engine()
            case _:
                self._reply(200, "audio/wav", speech())

    def _reply(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    server = HTTPServer(("127.0.0.1", 0), Answer, bind_and_activate=False)
    server.socket.close()
    server.socket = socket.socket(fileno=3)
    server.serve_forever()


if __name__ == "__main__":
    main()
