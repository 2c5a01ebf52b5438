"""The least that a supervisor can do: `bare_loop.py FILE`, a JSON list of commands.

posix_spawn for each, then waitpid and posix_spawn again for ever. What this takes is the limit
for every supervisor on the machine at hand that is written in Python.
"""

import json
import os
import sys


def main() -> None:
    """Start everything, and start again what ends."""
    with open(sys.argv[1]) as file:
        commands: list[list[str]] = json.load(file)
    null = os.open(os.devnull, os.O_RDWR)
    places = [(os.POSIX_SPAWN_DUP2, null, fd) for fd in (0, 1, 2)]
    by_pid: dict[int, list[str]] = {}

    def start(argv: list[str]) -> None:
        pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=places, setsid=True)
        by_pid[pid] = argv

    for argv in commands:
        start(argv)
    while True:
        pid, _ = os.waitpid(-1, 0)
        start(by_pid.pop(pid))


if __name__ == "__main__":
    main()
