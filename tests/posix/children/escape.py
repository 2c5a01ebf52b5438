"""Daemonize twice over: fork, setsid, fork, setsid; the first process ends with code 0.

Writes `leader=PID middle=PID deep=PID`. With `wiped`, the last one has an empty environment.
"""

import os
import sys

leader = os.getpid()
reading, writing = os.pipe()
if os.fork() == 0:
    os.setsid()
    middle = os.getpid()
    if os.fork() == 0:
        os.setsid()
        os.write(1, f"leader={leader} middle={middle} deep={os.getpid()}\n".encode())
        os.write(writing, b"x")
        os.close(reading)
        os.close(writing)
        if "wiped" in sys.argv:
            os.execve("/bin/sleep", ["sleep", "60"], {})  # noqa: S606
        os.execv("/bin/sleep", ["sleep", "60"])  # noqa: S606
    if "stay" in sys.argv:
        os.close(writing)
        os.execv("/bin/sleep", ["sleep", "60"])  # noqa: S606
    os._exit(0)
os.read(reading, 1)
os._exit(0)
