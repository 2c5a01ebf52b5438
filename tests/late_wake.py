"""A thread of waitress that is still at the end of its request when the server is to end."""

import threading
from typing import Any


def let_wake_late(listener: Any, deadline: float) -> None:
    """Have threads wake the server for a reply only while they are ended, in `deadline` seconds.

    `listener` is a server of waitress; to be called before it runs.
    """
    ending, wake = threading.Event(), listener.pull_trigger
    dispatcher = listener.task_dispatcher
    end_threads = dispatcher.shutdown

    def wake_late() -> None:
        ending.wait(deadline)
        wake()

    def end_while_it_wakes(**options: float) -> bool:
        ending.set()
        return bool(end_threads(**options))

    listener.pull_trigger = wake_late
    dispatcher.shutdown = end_while_it_wakes
