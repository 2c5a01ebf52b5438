"""`python -m supervisor.dashboard`: the web page of a system, run as one of its services."""

import sys

if __name__ == "__main__":
    # asyncio, which the journal's writing side needs, would bring ssl: 5 MB, and nothing here
    # speaks TLS. Not for whoever imports this package: it is for this process to decide.
    sys.modules.setdefault("ssl", None)  # type: ignore[arg-type]

    from supervisor.dashboard.service import main

    sys.exit(main())
