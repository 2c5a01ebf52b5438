"""Starts one supervisor and answers for all that comes of it: `keeper.py`, driven through stdin.

It is a subreaper, so whatever daemonises below it stays below it: the tree of this process is
exactly what the peer has started. Protocol: it prints "ready"; reads one JSON line
{"argv", "env", "cwd", "output"}; prints "started PID", and "ended CODE" when that process has
ended (a command that leaves a daemon behind does so at once). When stdin closes, be it since the
benchmark was killed, it kills all that is below it, prints "left N" and ends.

Runs with `python -I -S`: it must be small and quick, and import nothing of the benchmark.
"""

import ctypes
import json
import os
import select
import signal
import time

PR_SET_CHILD_SUBREAPER = 36
KILL_TIMEOUT = 20.0


def parents() -> dict[int, int]:
    """Return the parent of every process; zombies too."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    found[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
            except OSError:
                continue
    return found


def below(root: int) -> list[int]:
    """Return every descendant of a process."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents().items():
        children.setdefault(parent, []).append(pid)
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found[1:]


def reap(main: int) -> None:
    """Collect every dead child; say how the main one ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if pid == main:
            print(f"ended {os.waitstatus_to_exitcode(status)}", flush=True)


def read_line() -> bytes:
    """Return the next line of stdin, which nothing follows; empty at its end."""
    line = b""
    while not line.endswith(b"\n") and (data := os.read(0, 65536)):
        line += data
    return line


def kill_all() -> int:
    """Kill all that is below; return how many could not be ended."""
    deadline = time.monotonic() + KILL_TIMEOUT
    while (left := below(os.getpid())) and time.monotonic() < deadline:
        for pid in left:
            # A pid found below us may be gone by now, but cannot be somebody else's already:
            # it is only given away again after this process or its parent, below us, reaped it.
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        reap(0)
        time.sleep(0.005)
    return len(left)


def main() -> None:
    """Serve."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    print("ready", flush=True)
    line = read_line()
    if not line:
        print("left 0", flush=True)
        return
    asked = json.loads(line)
    os.chdir(asked["cwd"])
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    output = os.open(asked["output"], flags, 0o600)
    pid = os.posix_spawn(
        asked["argv"][0],
        asked["argv"],
        asked["env"],
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, output, 1),
            (os.POSIX_SPAWN_DUP2, output, 2),
        ],
        setsid=True,
        setsigmask=(),
        setsigdef=signal.valid_signals(),
    )
    print(f"started {pid}", flush=True)
    while True:
        ready, _, _ = select.select([0, wake], [], [])
        if wake in ready:
            os.read(wake, 4096)
            reap(pid)
        if 0 in ready and not os.read(0, 4096):
            print(f"left {kill_all()}", flush=True)
            return


if __name__ == "__main__":
    main()
