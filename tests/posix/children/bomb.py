"""A fork bomb with a limit: every process leaves its session and forks again as it ends.

Each generation's process ends right after its child is there, so whoever is seen is gone soon.
The argument is the number of lines and of generations in each.
"""

import os
import sys

width, generations = int(sys.argv[1]), int(sys.argv[2])
for _ in range(width):
    if os.fork() == 0:
        os.setsid()
        for _ in range(generations):
            if os.fork():
                os._exit(0)
            os.setsid()
        os.execv("/bin/sleep", ["sleep", "60"])  # noqa: S606
os.write(1, b"lit\n")
os.execv("/bin/sleep", ["sleep", "60"])  # noqa: S606
