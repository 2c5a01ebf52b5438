"""A daemon as far as its output goes, to be killed: `daemon.py STATE LOGS SCENARIO`.

The scenario is JSON: `services` (name → argv, started into its FIFO), `sockets` (name → count),
`watch` (name → patterns; the service is its run 1).
Prints one JSON line when all is in place: `services` (name → pid), `ports` (name → list), `sink`,
`holders`. Then it waits to be killed.
"""

import asyncio
import json
import os
import socket
import sys

from supervisor import output as outputs
from supervisor.core.spec import LogSpec
from supervisor.output import Output
from supervisor.posix.reaper import Reaper
from supervisor.posix.spawn import Command, spawn

PAUSE = 0.005
outputs.STATS_TIMEOUT = 20.0  # an answer says that the sink has all that came before


async def main() -> None:
    state, logs, text = sys.argv[1:]
    scenario = json.loads(text)
    output = Output(state, logs, lambda said: print(said, file=sys.stderr), os.environ)
    reaper = Reaper(output.child_ended)
    reaper.start()
    await output.start()
    pids = {}
    for name, argv in scenario.get("services", {}).items():
        fd = output.open(name, LogSpec())
        if name in scenario.get("watch", {}):
            output.watch(name, tuple(scenario["watch"][name]))
            output.mark(name, "run 1 begins", 1)
        pids[name] = spawn(Command(tuple(argv), dict(os.environ), "/", fd))
    ports = {}
    kept = []
    for name, count in scenario.get("sockets", {}).items():
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
        output.hold(name, sockets)
        kept += sockets
        ports[name] = [each.getsockname()[1] for each in sockets]
    for name in pids:
        await output.flush(name)
    # A holder is no event for anybody but the holder.
    while pids and len(output.pids) < 2:  # noqa: ASYNC110
        await asyncio.sleep(PAUSE)
    await output.lost()
    print(
        json.dumps(
            {
                "services": pids,
                "ports": ports,
                "sink": output.sink_pid,
                "holders": sorted(output.pids - {output.sink_pid}),
            }
        ),
        flush=True,
    )
    await asyncio.Event().wait()


asyncio.run(main())
