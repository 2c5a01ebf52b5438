"""Pump a FIFO into a log through the journal, as a sink without splice does: killed by the test.

`journal_pump.py FIFO LOG JOURNAL MAX_SIZE`; ends when no writer holds the FIFO.
"""

import selectors
import sys

from supervisor.logs.inlet import Inlet, selector_of_fifos
from supervisor.logs.logfile import LogFile
from supervisor.logs.policy import Policy
from supervisor.logs.transfer import Journal, finish_interrupted


def main() -> None:
    fifo, path, journal, max_size = sys.argv[1:]
    finish_interrupted(journal)
    policy = Policy(int(max_size), 1000, compress=False)
    log = LogFile(path, policy, Journal(journal), lambda _: None)
    inlet = Inlet("journal", fifo, log)
    selector = selector_of_fifos()
    selector.register(inlet.fd, selectors.EVENT_READ)
    print("ready", flush=True)
    ended = False
    while not ended:
        selector.select()
        _, ended = inlet.pump()
    print(log.error or "all written", flush=True)


if __name__ == "__main__":
    main()
