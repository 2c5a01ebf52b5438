"""`python -m supervisor.dashboard`: the web page of a system, run as one of its services."""

import sys

if __name__ == "__main__":
    # asyncio, which the journal's writing side needs, brings ssl if it can: 5 MB, and nothing here
    # speaks TLS. Afterwards it may be imported again: for figures, prometheus-client wants it.
    sys.modules["ssl"] = None  # type: ignore[assignment]
    from supervisor.dashboard.service import main

    del sys.modules["ssl"]
    sys.exit(main())
