"""A voice on a GPU that lacks an operator: each request fails, until a variable says what to do.

Given a second argument, it does not heed SIGTERM.
"""

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

INCIDENT = (
    "NotImplementedError: The operator 'aten::_weight_norm_interface' is not currently implemented "
    "for the MPS device. If you want this op to be added in priority during the prototype phase of "
    "this feature, please comment on https://github.com/pytorch/pytorch/issues/77764. As a "
    "temporary fix, you can set the environment variable PYTORCH_ENABLE_MPS_FALLBACK=1 to use the "
    "CPU as a fallback for this op. WARNING: this will be slower than running natively on MPS."
)


class Answer(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        works = os.environ.get("PYTORCH_ENABLE_MPS_FALLBACK") == "1"
        if not works:
            print(INCIDENT, file=sys.stderr, flush=True)
        body = b"RIFF" if works else b"error"
        self.send_response(200 if works else 500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


if len(sys.argv) > 2:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
