"""Say that it runs, wait for SIGUSR1, then write COUNT lines and a traceback, and die of it."""

import signal
import sys

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
print("ready", flush=True)
signal.sigwait({signal.SIGUSR1})
for number in range(int(sys.argv[1])):
    print(f"line {number}")
sys.stdout.flush()
raise RuntimeError("the very last word")
