"""A part of the old system, as far as others see it: an HTTP server on $PORT.

`GET /health` tells its environment, with 503 to the first two requests: a model is loading.
`GET /crash` ends it with code 3. Anything else is a page.
"""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    asked = 0

    def do_GET(self) -> None:
        Handler.asked += 1
        if self.path == "/crash":
            print("crashing, as asked", flush=True)
            os._exit(3)
        body = json.dumps(dict(os.environ)) if self.path == "/health" else "<html></html>"
        self.send_response(503 if self.path == "/health" and Handler.asked < 3 else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        del format, arguments


if __name__ == "__main__":
    print("serving", *sys.argv[1:], "in", os.getcwd(), flush=True)
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
