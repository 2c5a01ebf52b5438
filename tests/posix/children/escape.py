"""Daemonize twice over: fork, setsid, fork, setsid; the first process ends with code 0.

The last one executes a program, which writes `leader=PID middle=PID deep=PID`: its environment can
be seen from then on. With `wiped`, that is empty.
"""

import os
import sys

DEEP = "import os, signal, sys; os.write(1, sys.argv[1].encode()); signal.pause()"

leader = os.getpid()
reading, writing = os.pipe()
if os.fork() == 0:
    os.setsid()
    middle = os.getpid()
    if os.fork() == 0:
        os.setsid()
        words = f"leader={leader} middle={middle} deep={os.getpid()}\n"
        os.write(writing, b"x")
        os.close(reading)
        os.close(writing)
        argv = [sys.executable, "-I", "-S", "-c", DEEP, words]
        os.execve(sys.executable, argv, {} if "wiped" in sys.argv else dict(os.environ))  # noqa: S606
    if "stay" in sys.argv:
        os.close(writing)
        os.execv("/bin/sleep", ["sleep", "60"])  # noqa: S606
    os._exit(0)
os.read(reading, 1)
os._exit(0)
