"""Write numbered lines without end, and count outside of the log what has been written.

`writer.py FOLDER`: line N of run R is `R N xxx…`. FOLDER/R.count has how many lines of run R were
written: when this process is killed, one line more may be in the log than the count says, and
none less.
"""

import os
import sys
import time

BATCH = 20
PAUSE = 0.01


def main() -> None:
    run = os.environ["ATLAS_RUN"]
    # Exclusive: a second process of the same run would end here, with an error in the log.
    path = f"{sys.argv[1]}/{run}.count"
    count = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    number = 0
    while True:
        for _ in range(BATCH):
            # One write of less than PIPE_BUF bytes: whole or not at all.
            os.write(1, f"{run} {number} {'x' * (number * 7 % 97)}\n".encode())
            number += 1
            os.pwrite(count, b"%d" % number, 0)
        time.sleep(PAUSE)


if __name__ == "__main__":
    main()
