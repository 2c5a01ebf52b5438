"""Workers over fake engines, and what jobs of them end in."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from services.tts.cache import PhraseCache
from services.tts.chain import Chain
from services.tts.job import Job, Order, Outcome, Piece
from services.tts.worker import State, Worker
from tests.tts.doubles import PATIENCE, FakeEngine, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@contextmanager
def working(
    engine: FakeEngine | None,
    *,
    preferred: Sequence[FakeEngine] = (),
    phrases: PhraseCache | None = None,
    queue: int = 2,
    sentence_limit: float = 60.0,
    patience: float = PATIENCE,
    pauses: tuple[float, ...] = (0.01,),
) -> Iterator[Worker]:
    chain = Chain(
        preferred,
        engine,
        sentence_limit=sentence_limit,
        prepare=lambda: None,
        retry_pauses=pauses,
    )
    worker = Worker(chain, queue=queue, phrases=phrases or PhraseCache(), patience=patience)
    worker.start()
    try:
        yield worker
    finally:
        for one in (*preferred, *([engine] if engine else [])):
            one.release()
        assert worker.close(timeout=PATIENCE)


def order(*sentences: str, streamed: bool = True) -> Order:
    return Order(sentences, "dmytro", "none", 1.0, streamed)


def submit(worker: Worker, *sentences: str, within: float = PATIENCE, streamed: bool = True) -> Job:
    with worker.slot():
        return worker.submit(order(*sentences, streamed=streamed), within=within)


def everything(job: Job) -> tuple[list[Piece], Outcome]:
    """Takes the pieces and the outcome of a job."""
    pieces = []
    while isinstance(taken := job.take(PATIENCE), Piece):
        pieces.append(taken)
    assert taken is not None, "the job did not end"
    return pieces, taken


def outcome_of(job: Job) -> Outcome:
    return everything(job)[1]


def state_is(worker: Worker, state: State) -> None:
    until(lambda: worker.snapshot().state is state, f"the worker is {state}")


def speaks(worker: Worker, engine: FakeEngine) -> None:
    """Waits until this engine is the one that speaks."""

    def does() -> bool:
        now = worker.snapshot()
        return now.ready and (now.engine, now.device) == (engine.name, engine.device)

    until(does, f"{engine.name} on {engine.device} speaks")
