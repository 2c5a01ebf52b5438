"""What all tests share: coroutines are tests too, each on an event loop of its own."""

import asyncio
import inspect
import os
import signal
import sys

import pytest
from hypothesis import settings

# How long an example takes depends on what else the machine does: no test asserts speed.
settings.register_profile("atlas", deadline=None)
settings.load_profile("atlas")

# The tests start thousands of Pythons, and each would compile all that it imports: a third of what
# such a start costs. Some machines for automatic builds set this.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A suite that was started in the background (`make test &` in a script) ignores Ctrl-C, and would
# hand that on to every program that is to be ended by it in a test.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# A Mac's own folder for temporary files is so deep that no Unix socket can be bound below it.
if sys.platform == "darwin":
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", "/tmp")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let those begin first that take a minute on any machine: last, they would be waited for."""
    items.sort(key=lambda item: item.get_closest_marker("early") is None)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine; a plugin for these few lines would be one more to keep."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True
