"""A sink of the time before patterns: `older_sink.py STATE`."""

import sys

from supervisor.logs import sink


class OlderSink(sink.Sink):
    """Knows no `subscribe`."""

    def __init__(self, state: str, most_files: int) -> None:
        super().__init__(state, most_files)
        del self._operations["subscribe"]


if __name__ == "__main__":
    sink.Sink = OlderSink  # type: ignore[misc]
    sys.exit(sink.main(sys.argv[1:]))
