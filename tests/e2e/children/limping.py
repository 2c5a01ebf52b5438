"""A service that works, and tells at /health what stands in the file that it is given."""

import json
import socket
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

NOTICE = Path(sys.argv[1])


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        notice = NOTICE.read_text() or None
        body = json.dumps({"tts": {"ready": True, "notice": notice}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = HTTPServer(("127.0.0.1", 0), Answer, bind_and_activate=False)
server.socket.close()
server.socket = socket.socket(fileno=3)
server.serve_forever()
