"""`metrics`: the supervisor's figures as Prometheus reads them."""

import json

from supervisor.cli import connection
from supervisor.cli.connection import speaking_to
from supervisor.cli.exits import ExitStatus
from supervisor.cli.invocation import Invocation
from supervisor.notify.errand import recall


def metrics(call: Invocation) -> int:
    """Print the figures of the supervisor that runs."""
    system = call.system()
    with speaking_to(system):
        found = connection.metrics(system.client())
    if call.json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
        return ExitStatus.AS_ASKED
    from supervisor.exposition import exposition

    memory = recall(system.state_dir)
    print(exposition(found, None if memory is None else memory.targets), end="")
    return ExitStatus.AS_ASKED
