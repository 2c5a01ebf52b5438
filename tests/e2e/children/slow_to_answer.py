"""An HTTP server that answers after a while, and first writes down that it was asked.

slow_to_answer.py PORT FILE     a byte is added to FILE for each request
"""

import http.server
import sys
import threading

THINKING = 0.5


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        with open(sys.argv[2], "ab") as file:
            file.write(b".")
        threading.Event().wait(THINKING)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
