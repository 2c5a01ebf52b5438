"""A sink that waits and moves bytes as one of macOS does, without splice: `journal_sink.py STATE`."""

import selectors
import sys

from supervisor.logs import sink
from supervisor.logs.transfer import Journal

if __name__ == "__main__":
    sink.open_mover = Journal  # type: ignore[attr-defined,assignment]
    sink.selector_of_fifos = selectors.SelectSelector  # type: ignore[attr-defined]
    sys.exit(sink.main(sys.argv[1:]))
