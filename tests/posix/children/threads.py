"""End the first thread and go on in a second one, deaf to SIGTERM. Writes `pid=PID` then."""

import ctypes
import os
import signal
import threading
import time
from pathlib import Path


def go_on() -> None:
    # No event tells of the end of a thread that is not joined.
    while " Z " not in Path("/proc/self/stat").read_text():
        time.sleep(0.001)
    os.write(1, f"pid={os.getpid()}\n".encode())
    signal.sigwait({signal.SIGTERM})
    while True:
        signal.pause()


signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
threading.Thread(target=go_on, daemon=True).start()
ctypes.CDLL(None).pthread_exit(None)
