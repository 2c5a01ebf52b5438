"""What becomes of a unit in each situation, whatever happens, written out by hand.

A cell says what the unit becomes and what is to be done: `Blocked UP asked` is the phase, the
goal and the effects in order, notes by their topic in small letters, other effects by their
class. `=` says that nothing at all changes.
"""

TABLE: dict[str, str] = {
    "stopped": """
        start        Blocked UP asked
        stop         =
        restart      Blocked UP asked
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      Running UP adopted
        exited       =
        cleared      =
        left over    =
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         =
        respec       Stopped DOWN
        exceeded     =
        resumed      =
        forget       Stopped DOWN remedy
        matched      =
        applied      =
        in vain      =
    """,
    "blocked": """
        start        =
        stop         Stopped DOWN stopped
        restart      Blocked UP asked
        admitted     Spawning UP Spawn
        held         Blocked UP blocked
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      Running UP adopted
        exited       =
        cleared      =
        left over    =
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         =
        respec       Blocked UP
        exceeded     =
        resumed      =
        forget       Blocked UP remedy
        matched      Blocked UP remedy
        applied      =
        in vain      =
    """,
    "spawning": """
        start        =
        stop         Spawning DOWN asked
        restart      Spawning UP asked
        admitted     =
        held         =
        spawned      Running UP started
        spawn failed Waiting UP spawn-failed restarting
        cannot spawn Failed UP spawn-failed gave-up
        adopted      =
        exited       Clearing UP exited Clear
        cleared      =
        left over    =
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         =
        respec       Spawning UP
        exceeded     =
        resumed      =
        forget       Spawning UP remedy
        matched      =
        applied      =
        in vain      =
    """,
    "spawning, stop asked": """
        start        Spawning UP asked
        stop         =
        restart      Spawning UP asked
        admitted     =
        held         =
        spawned      Stopping DOWN started stopping Signal
        spawn failed Stopped DOWN spawn-failed
        cannot spawn Stopped DOWN spawn-failed
        adopted      =
        exited       Clearing DOWN exited Clear
        cleared      =
        left over    =
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         =
        respec       Spawning DOWN
        exceeded     =
        resumed      =
        forget       Spawning DOWN remedy
        matched      =
        applied      =
        in vain      =
    """,
    "running": """
        start        =
        stop         Stopping DOWN stopping Signal
        restart      Stopping UP stopping Signal
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      =
        exited       Clearing UP exited Clear
        cleared      =
        left over    =
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         Running UP Ask Ask Ask
        respec       Running UP
        exceeded     Stopping UP stopping Signal
        resumed      Running UP
        forget       Running UP remedy
        matched      Stopping UP remedy stopping Signal
        applied      =
        in vain      =
    """,
    "running, probes in flight": """
        start        =
        stop         Stopping DOWN stopping Signal
        restart      Stopping UP stopping Signal
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      =
        exited       Clearing UP exited Clear
        cleared      =
        left over    =
        not ready    Running UP unready
        not alive    Stopping UP stopping Signal
        hung         Stopping UP stopping Signal
        busy         Running UP busy
        not working  Running UP unready
        put off      Running UP
        time         =
        respec       Running UP
        exceeded     Stopping UP stopping Signal
        resumed      Running UP
        forget       Running UP remedy
        matched      Stopping UP remedy stopping Signal
        applied      =
        in vain      =
    """,
    "running, remedy beside": """
        start        =
        stop         Stopping DOWN Abandon stopping Signal
        restart      Stopping UP Abandon stopping Signal
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      =
        exited       Clearing UP exited Clear
        cleared      =
        left over    =
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         Running UP Ask Ask Ask
        respec       Running UP
        exceeded     Stopping UP stopping Signal
        resumed      Running UP
        forget       Running UP remedy
        matched      Stopping UP remedy stopping Signal
        applied      Running UP remedy
        in vain      Running UP remedy-skipped
    """,
    "stopping": """
        start        Stopping UP asked
        stop         =
        restart      Stopping UP asked
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      =
        exited       Clearing DOWN exited Clear
        cleared      =
        left over    =
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         Stopping DOWN killed Kill
        respec       Stopping DOWN
        exceeded     =
        resumed      Stopping DOWN
        forget       Stopping DOWN remedy
        matched      =
        applied      =
        in vain      =
    """,
    "stopping to restart": """
        start        =
        stop         Stopping DOWN asked
        restart      Stopping UP asked
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      =
        exited       Clearing UP exited Clear
        cleared      =
        left over    =
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         Stopping UP killed Kill
        respec       Stopping UP
        exceeded     =
        resumed      Stopping UP
        forget       Stopping UP remedy
        matched      =
        applied      =
        in vain      =
    """,
    "stopping as dead": """
        start        =
        stop         Stopping DOWN asked
        restart      Stopping UP asked
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      =
        exited       Clearing UP exited Clear
        cleared      =
        left over    =
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         Stopping UP killed Kill
        respec       Stopping UP
        exceeded     =
        resumed      Stopping UP
        forget       Stopping UP remedy
        matched      Stopping UP remedy
        applied      =
        in vain      =
    """,
    "killed": """
        start        Stopping UP asked
        stop         =
        restart      Stopping UP asked
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      =
        exited       Clearing DOWN exited Clear
        cleared      =
        left over    =
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         Stopping DOWN killed Kill
        respec       Stopping DOWN
        exceeded     =
        resumed      Stopping DOWN
        forget       Stopping DOWN remedy
        matched      =
        applied      =
        in vain      =
    """,
    "clearing": """
        start        Clearing UP asked
        stop         =
        restart      Clearing UP asked
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      =
        exited       =
        cleared      Stopped DOWN stopped
        left over    Failed DOWN left-over
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         =
        respec       Clearing DOWN
        exceeded     =
        resumed      =
        forget       Clearing DOWN remedy
        matched      =
        applied      =
        in vain      =
    """,
    "clearing to restart": """
        start        =
        stop         Clearing DOWN asked
        restart      Clearing UP asked
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      =
        exited       =
        cleared      Blocked UP
        left over    Blocked UP left-over
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         =
        respec       Clearing UP
        exceeded     =
        resumed      =
        forget       Clearing UP remedy
        matched      =
        applied      =
        in vain      =
    """,
    "clearing a crash": """
        start        =
        stop         Clearing DOWN asked
        restart      Clearing UP asked
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      =
        exited       =
        cleared      Waiting UP restarting
        left over    Waiting UP left-over restarting
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         =
        respec       Clearing UP
        exceeded     =
        resumed      =
        forget       Clearing UP remedy
        matched      Clearing UP remedy
        applied      =
        in vain      =
    """,
    "clearing the dead": """
        start        =
        stop         Clearing DOWN asked
        restart      Clearing UP asked
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      =
        exited       =
        cleared      Waiting UP restarting
        left over    Waiting UP left-over restarting
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         =
        respec       Clearing UP
        exceeded     =
        resumed      =
        forget       Clearing UP remedy
        matched      Clearing UP remedy
        applied      =
        in vain      =
    """,
    "clearing to mend": """
        start        =
        stop         Clearing DOWN asked
        restart      Clearing UP asked
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      =
        exited       =
        cleared      Healing UP Apply
        left over    Healing UP left-over Apply
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         =
        respec       Clearing UP
        exceeded     =
        resumed      =
        forget       Clearing UP remedy
        matched      =
        applied      =
        in vain      =
    """,
    "waiting": """
        start        Blocked UP asked
        stop         Stopped DOWN stopped
        restart      Blocked UP asked
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      Running UP adopted
        exited       =
        cleared      =
        left over    =
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         Blocked UP
        respec       Waiting UP
        exceeded     =
        resumed      =
        forget       Waiting UP remedy
        matched      Blocked UP remedy
        applied      =
        in vain      =
    """,
    "healing": """
        start        Blocked UP Abandon asked
        stop         Stopped DOWN Abandon stopped
        restart      Blocked UP Abandon asked
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      Running UP Abandon adopted
        exited       =
        cleared      =
        left over    =
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         Waiting UP Abandon remedy-skipped restarting
        respec       Healing UP
        exceeded     =
        resumed      Healing UP
        forget       Healing UP remedy
        matched      =
        applied      Blocked UP remedy restarting
        in vain      Waiting UP remedy-skipped restarting
    """,
    "failed": """
        start        Blocked UP asked
        stop         Stopped DOWN stopped
        restart      Blocked UP asked
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      Running UP adopted
        exited       =
        cleared      =
        left over    =
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         =
        respec       Failed UP
        exceeded     =
        resumed      =
        forget       Failed UP remedy
        matched      Blocked UP remedy restarting
        applied      =
        in vain      =
    """,
    "failed to stop": """
        start        Clearing UP asked Clear
        stop         Clearing DOWN asked Clear
        restart      Clearing UP asked Clear
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      Running UP adopted
        exited       =
        cleared      =
        left over    =
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         =
        respec       Failed DOWN
        exceeded     =
        resumed      =
        forget       Failed DOWN remedy
        matched      =
        applied      =
        in vain      =
    """,
    "completed": """
        start        Blocked UP asked
        stop         Stopped DOWN stopped
        restart      Blocked UP asked
        admitted     =
        held         =
        spawned      =
        spawn failed =
        cannot spawn =
        adopted      Running UP adopted
        exited       =
        cleared      =
        left over    =
        not ready    =
        not alive    =
        hung         =
        busy         =
        not working  =
        put off      =
        time         =
        respec       Completed UP
        exceeded     =
        resumed      =
        forget       Completed UP remedy
        matched      Blocked UP remedy restarting
        applied      =
        in vain      =
    """,
}
"""One line per happening, in the order of HAPPENINGS in `test_step_table.py`."""
