"""A service whose tree does all that a tree can do to outlive a stop.

`hostile.py PORT ROOT kept|late|wiped|silent`: a sibling that ignores every polite signal; a
grandchild that left the session, lost its parent, ignores the signals too and holds PORT; and fifty
children. The grandchild has its environment kept or wiped, and where it is silent it has no output
of the service any more, at once or (late) when the run has got its control group. Prints `complete`
when all of them are there. ROOT only stands on the command lines, for the test to find what is
left.
"""

import os
import signal
import sys
import time
from pathlib import Path

CHILDREN = 50
HOLDER = """
import os, signal, socket, sys, time
held = socket.create_server(("127.0.0.1", int(sys.argv[1])))
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
os.write(int(sys.argv[2]), b"held")
os.close(int(sys.argv[2]))
time.sleep(999)
"""


def main() -> None:
    port, root, environment = sys.argv[1:]
    if environment == "late":
        wait_for_group()
    if os.fork() == 0:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        time.sleep(999)
        os._exit(0)
    for _ in range(CHILDREN):
        if os.fork() == 0:
            time.sleep(999)
            os._exit(0)
    told, tell = os.pipe()
    middle = os.fork()
    if middle == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        os.set_inheritable(tell, True)
        if environment in ("late", "silent"):
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 1)
            os.dup2(null, 2)
        argv = [sys.executable, "-I", "-S", "-c", HOLDER, port, str(tell), root]
        kept = dict(os.environ) if environment == "kept" else {}
        os.execve(sys.executable, argv, kept)  # noqa: S606 - the service's, not ours
    os.waitpid(middle, 0)
    os.close(tell)
    if os.read(told, 4) == b"held":
        print("complete", flush=True)
    time.sleep(999)


def wait_for_group() -> None:
    deadline = time.monotonic() + 5
    while "/atlas-" not in Path("/proc/self/cgroup").read_text() and time.monotonic() < deadline:
        time.sleep(0.01)


if __name__ == "__main__":
    main()
