"""Leave an orphan that forks and ends once something comes through the FIFO named by argv[1].

Writes `orphan=PID`, and later `heir=PID`, which that one leaves. The first process ends at once.
"""

import os
import signal
import sys

if os.fork() == 0:
    os.setsid()
    os.write(1, f"orphan={os.getpid()}\n".encode())
    with open(sys.argv[1], "rb") as gate:
        gate.read()
    heir = os.fork()
    if heir == 0:
        signal.pause()
    os.write(1, f"heir={heir}\n".encode())
os._exit(0)
