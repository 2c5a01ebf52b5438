"""The dashboard put together: a system, its token, sockets, and a server until it is told to stop.

Exit codes: 0 stopped as asked, 1 it cannot serve, 2 usage or configuration.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from supervisor.config.discovery import config_path
from supervisor.config.problems import ConfigError
from supervisor.config.root import state_dir
from supervisor.control.client import ControlClient
from supervisor.control.socket import SocketPathError
from supervisor.dashboard import listening, presence, token_file
from supervisor.dashboard.application import Application
from supervisor.dashboard.server import Server
from supervisor.dashboard.story import Stories
from supervisor.dashboard.watch import Watch

DEFAULT_PORT = 3900
DAEMON_SECONDS = 4.0
"""The daemon answers in milliseconds; a page asks again in a second."""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT."""
    asked = _arguments(argv)
    try:
        config = config_path(asked.config, os.getcwd(), os.environ)
        folder = state_dir(config)
        daemon = ControlClient(folder, DAEMON_SECONDS)
    except (ConfigError, SocketPathError) as error:
        print(error, file=sys.stderr)
        return 2
    try:
        token = token_file.obtain(folder)
        sockets = listening.take_handed_over(os.environ) or listening.bind(asked.port)
        ports = tuple(dict.fromkeys(map(listening.port_of, sockets)))
        url = listening.url_of(sockets)
        application = Application(
            daemon, Watch(folder, daemon), Stories(config), token, ports, folder
        )
        server = Server(application, sockets)
        presence.announce(folder, url)
    except (token_file.TokenError, listening.ListenError) as error:
        print(f"dashboard: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"dashboard: cannot write to {folder}: {error.strerror}", file=sys.stderr)
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    print(f"dashboard of {config} at {url}; to open it: atlasctl dashboard", flush=True)
    server.run()
    application.window.close()
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m supervisor.dashboard", description="Serve the web page of a system."
    )
    parser.add_argument("-c", "--config", help="the YAML of the system; found as atlasctl does")
    parser.add_argument(
        "--port",
        type=int,
        default=DEFAULT_PORT,
        help=f"of 127.0.0.1, where no socket is handed over (default {DEFAULT_PORT}, 0: any)",
    )
    return parser.parse_args(argv)
