"""The speech service with an engine that halts at the word "стій" until the file $GATE is there."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from services.tts import __main__ as service
from services.tts.engines import Engines
from tests.tts.doubles import FakeEngine, tone, until

if TYPE_CHECKING:
    from services.tts.engine import Samples

SECONDS = 0.6


def answer(sentence: str) -> Samples:
    if "стій" in sentence.replace("+", ""):
        until(lambda: os.path.exists(os.environ["GATE"]), "the test opened the gate")
    return tone(SECONDS, 200.0)


if __name__ == "__main__":
    engine = FakeEngine("halting")
    engine.answer = answer
    service.create = lambda *_, **__: Engines((), engine)  # type: ignore[attr-defined]
    sys.exit(service.main())
