"""There is always speech, by the best engine that can, and the truth is told about the others."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest

from services.tts.chain import Chain
from services.tts.engine import EngineError, Utterance
from services.tts.job import Spoken
from services.tts.link import LinkState
from services.tts.worker import State
from tests.tts.doubles import PATIENCE, FakeEngine, tone, until
from tests.tts.test_link import INCIDENT
from tests.tts.workers import everything, outcome_of, speaks, state_is, submit, working

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from services.tts.engine import Samples


def neural(device: str = "mps", **options: object) -> FakeEngine:
    return FakeEngine("ukrainian", device, fingerprint=device, **options)  # type: ignore[arg-type]


def espeak() -> FakeEngine:
    return FakeEngine("espeak", fingerprint="")


def fails(sentence: str) -> Samples:
    raise NotImplementedError(INCIDENT)


@contextmanager
def chaining(
    *preferred: FakeEngine,
    stand_in: FakeEngine | None = None,
    pauses: tuple[float, ...] = (PATIENCE,),
    sentence_limit: float = 60.0,
    prepare: Callable[[], None] = lambda: None,
    hold_back: float = 0.0,
) -> Iterator[Chain]:
    chain = Chain(
        preferred,
        stand_in,
        sentence_limit=sentence_limit,
        prepare=prepare,
        retry_pauses=pauses,
        hold_back=hold_back,
    )
    chain.start()
    try:
        yield chain
    finally:
        for engine in (*preferred, *([stand_in] if stand_in else [])):
            engine.release()
        assert chain.close(timeout=PATIENCE)


def is_best(chain: Chain, engine: FakeEngine) -> None:
    def does() -> bool:
        best = chain.best()
        return best is not None and best.engine is engine

    until(does, f"{engine.name} on {engine.device} speaks")


def say(chain: Chain, sentence: str = "слово") -> list[Samples]:
    link = chain.best()
    assert link is not None
    assert chain.begin(link, 1)
    return chain.synthesise(link, [Utterance(sentence, "dmytro", 1.0)], give_up=lambda: False)


def states(chain: Chain) -> list[LinkState]:
    return [link.state for link in chain.statuses()]


def test_the_stand_in_speaks_while_the_preferred_engine_loads() -> None:
    voice, stand_in = neural(), espeak()
    voice.hold_warm_up()
    with chaining(voice, stand_in=stand_in) as chain:
        is_best(chain, stand_in)
        until(lambda: voice.warm_ups == 1, "the neural voice is tried")
        assert chain.is_coming()
        assert chain.notice() == "the neural voice is loading; eSpeak NG speaks until then"
        voice.release()
        is_best(chain, voice)
        assert chain.notice() is None
        assert not chain.is_coming()
        assert stand_in.unloads == 0, "it has to be there at once when it is needed"


@pytest.mark.parametrize("warm_up_failures", [0, 99])
def test_a_stand_in_that_is_held_back_is_silent_until_it_is_known_whether_it_is_needed(
    warm_up_failures: int,
) -> None:
    voice, stand_in = neural(warm_up_failures=warm_up_failures), espeak()
    voice.hold_warm_up()
    with chaining(voice, stand_in=stand_in, hold_back=3600.0) as chain:
        until(lambda: states(chain) == ["loading", "ready"], "the stand-in is ready")
        assert (chain.best(), chain.is_settled(), chain.why_silent()) == (None, False, None)
        voice.release()
        is_best(chain, stand_in if warm_up_failures else voice)
        assert chain.is_settled()


def test_no_stand_in_is_held_back_for_ever() -> None:
    voice, stand_in = neural(), espeak()
    voice.hold_warm_up()
    with chaining(voice, stand_in=stand_in, hold_back=0.2) as chain:
        is_best(chain, stand_in)


def test_what_fails_at_a_text_is_stepped_over_and_comes_back_when_it_recovers() -> None:
    voice, stand_in = neural(), espeak()
    with chaining(voice, stand_in=stand_in) as chain:
        is_best(chain, voice)
        voice.hold_warm_up()
        voice.answer = fails
        with pytest.raises(EngineError, match="_weight_norm_interface"):
            say(chain)
        is_best(chain, stand_in)
        assert len(say(chain)) == 1
        notice = str(chain.notice())
        assert "the neural voice on mps failed: NotImplementedError: The operator" in notice
        assert "set PYTORCH_ENABLE_MPS_FALLBACK=1" in notice
        assert notice.endswith("eSpeak NG speaks instead, tried again soon")
        voice.answer = lambda _: tone(1.0, 200.0)
        voice.release()
        is_best(chain, voice)
        assert chain.notice() is None
        status = chain.statuses()[0]
        assert (status.reason, status.retry_in) == (None, None)
        assert "_weight_norm_interface" in str(status.last_error)


def test_the_notice_changes_with_the_situation_and_not_with_the_clock() -> None:
    voice = neural(warm_up_failures=99)
    with chaining(voice, stand_in=espeak(), pauses=(120.0,)) as chain:
        until(lambda: states(chain) == ["failed", "ready"], "the neural voice has failed")
        assert str(chain.notice()).endswith("eSpeak NG speaks instead, tried again in 120 s")
        retry_in = chain.statuses()[0].retry_in
        assert retry_in is not None
        assert 0 < retry_in <= 120


def test_the_same_engine_on_the_cpu_is_loaded_when_the_device_fails() -> None:
    device, cpu, stand_in = neural(), neural("cpu"), espeak()
    with chaining(device, cpu, stand_in=stand_in) as chain:
        is_best(chain, device)
        assert states(chain) == ["ready", "waiting", "ready"]
        assert cpu.loads == 0, "two models in memory for nothing"
        device.hold_warm_up()
        device.answer = fails
        with pytest.raises(EngineError):
            say(chain)
        is_best(chain, stand_in)
        device.release()
        is_best(chain, device)
        with pytest.raises(EngineError):
            say(chain)
        is_best(chain, cpu)
        until(lambda: device.unloads == 2, "the memory of the failed one is free")
        assert "the neural voice on cpu speaks instead" in str(chain.notice())


def test_what_a_recovered_engine_replaces_is_unloaded_but_never_in_mid_sentence() -> None:
    device, cpu, stand_in = neural(warm_up_failures=1), neural("cpu"), espeak()
    device.hold_warm_up()
    with working(stand_in, preferred=(device, cpu), pauses=(0.05,)) as worker:
        device.release()
        until(lambda: cpu.warm_ups == 1, "the CPU is loaded")
        # Where the device came back before the CPU had spoken, there is nothing left to see here.
        until(lambda: device.warm_ups >= 2, "the device is tried again")
        speaks(worker, device)
        until(lambda: cpu.unloads >= 1, "the CPU's memory is free")
        assert stand_in.unloads == 0


def test_an_engine_in_use_is_not_unloaded() -> None:
    device, cpu = neural(warm_up_failures=1), neural("cpu")
    with chaining(device, cpu, pauses=(PATIENCE, PATIENCE)) as chain:
        is_best(chain, cpu)
        link = chain.best()
        assert link is not None
        assert chain.begin(link, 1)
        with chain.changed:
            # As if its pause were over.
            chain._links[0].retry_at = 0.0
            chain.changed.notify_all()
        is_best(chain, device)
        assert cpu.unloads == 0
        chain.synthesise(link, [Utterance("слово", "dmytro", 1.0)], give_up=lambda: False)
        until(lambda: cpu.unloads == 1, "it is unloaded when it is let go of")


def test_an_engine_of_the_same_name_and_device_is_skipped() -> None:
    first, same, stand_in = neural("cpu", warm_up_failures=99), neural("cpu"), espeak()
    with chaining(first, same, stand_in=stand_in) as chain:
        until(lambda: states(chain)[0] == "failed", "the first has failed")
        is_best(chain, stand_in)
        assert states(chain) == ["failed", "skipped", "ready"]
    assert same.loads == 0


def test_what_could_not_be_loaded_is_loaded_when_it_can_be() -> None:
    voice = neural(warm_up_failures=3)
    with chaining(voice, stand_in=espeak(), pauses=(0.001,)) as chain:
        is_best(chain, voice)
    assert voice.warm_ups == 4


def test_a_warm_up_that_takes_too_long_is_given_up() -> None:
    voice, stand_in = neural(), espeak()
    voice.hold_warm_up()
    with chaining(voice, stand_in=stand_in, sentence_limit=0.01) as chain:
        until(lambda: states(chain) == ["failed", "ready"], "the neural voice was given up")
        assert "the warm-up word took over 0.01 s" in str(chain.statuses()[0].reason)


def test_a_warm_up_that_hangs_is_told_of_and_costs_nobody_a_wait() -> None:
    voice, stand_in = neural(deaf=True), espeak()
    voice.hold_warm_up()
    with chaining(voice, stand_in=stand_in, sentence_limit=0.01) as chain:
        until(lambda: "hangs" in str(chain.statuses()[0].reason), "the hang is told of")
        is_best(chain, stand_in)
        assert not chain.is_coming()
        assert chain.hung() is None


def nan(sentence: str) -> Samples:
    return np.full(22_050, np.nan, dtype=np.float32)


def silence(sentence: str) -> Samples:
    return np.zeros(22_050, dtype=np.float32)


@pytest.mark.parametrize(
    ("answer", "reason"), [(nan, "no numbers"), (silence, "silence"), (fails, "NotImplemented")]
)
def test_what_cannot_be_speech_is_a_failure(answer: Callable[[str], Samples], reason: str) -> None:
    voice = neural()
    with chaining(voice, stand_in=espeak()) as chain:
        is_best(chain, voice)
        voice.answer = answer
        with pytest.raises(EngineError, match=reason):
            say(chain)


def test_a_lone_consonant_may_be_silent() -> None:
    voice = neural()
    with chaining(voice, stand_in=espeak()) as chain:
        is_best(chain, voice)
        voice.answer = silence
        say(chain, "в")
        is_best(chain, voice)


def test_an_engine_that_gives_up_unasked_or_loses_a_sentence_has_failed() -> None:
    class Lossy(FakeEngine):
        def synthesise(
            self, batch: Sequence[Utterance], *, give_up: Callable[[], bool]
        ) -> list[Samples]:
            return super().synthesise(batch, give_up=give_up)[: 1 if self.warm_ups < 2 else 0]

    voice = Lossy()
    with chaining(voice, stand_in=None) as chain:
        is_best(chain, voice)
        voice.warm_ups = 2
        with pytest.raises(EngineError, match="spoke 0 of 1 sentences"):
            say(chain)


def test_without_a_stand_in_the_reasons_of_all_are_told() -> None:
    with chaining(neural(warm_up_failures=99), neural("cpu", warm_up_failures=99)) as chain:
        until(lambda: chain.why_silent() is not None, "both have failed")
        assert chain.why_silent() == (
            "ukrainian on mps: the fake engine was told to fail; "
            "ukrainian on cpu: the fake engine was told to fail"
        )
        assert chain.notice() is None


def test_a_device_other_than_the_one_asked_for_is_a_notice() -> None:
    voice = neural("cpu")
    voice.device_reason = "mps differs from the CPU beyond 3 s"
    with chaining(voice, stand_in=espeak()) as chain:
        is_best(chain, voice)
        assert chain.notice() == "the neural voice: mps differs from the CPU beyond 3 s"


def test_a_text_pipeline_that_cannot_be_prepared_is_tried_again() -> None:
    tries: list[None] = []

    def prepare() -> None:
        tries.append(None)
        if len(tries) < 3:
            raise OSError("no vocabulary")

    stand_in = espeak()
    with chaining(stand_in=stand_in, pauses=(0.001,), prepare=prepare) as chain:
        is_best(chain, stand_in)
        assert chain.last_error == "OSError: no vocabulary"


def test_a_chain_can_be_closed_while_an_engine_loads() -> None:
    voice, stand_in = neural(), espeak()
    voice.hold_warm_up()
    with chaining(voice, stand_in=stand_in) as chain:
        until(lambda: voice.warm_ups == 1, "the neural voice is tried")
        assert chain.close(timeout=PATIENCE)
        assert states(chain) == ["loading", "ready"]


class Incident(FakeEngine):
    """The incident's device: every call raises, from the start or from some moment on."""

    broken = True

    def synthesise(
        self, batch: Sequence[Utterance], *, give_up: Callable[[], bool]
    ) -> list[Samples]:
        if self.broken:
            self.warm_ups += 1
            raise NotImplementedError(INCIDENT)
        return super().synthesise(batch, give_up=give_up)


@pytest.mark.parametrize("from_the_start", [True, False])
def test_the_incident_is_heard_by_nobody(from_the_start: bool) -> None:
    device, cpu, stand_in = Incident("ukrainian", "mps", batch=4), neural("cpu"), espeak()
    device.broken = from_the_start
    cpu.hold_warm_up()
    with working(stand_in, preferred=(device, cpu), pauses=(PATIENCE,)) as worker:
        if not from_the_start:
            speaks(worker, device)
            device.broken = True
        pieces, outcome = everything(submit(worker, "раз", "два слова", "три"))
        assert [round(piece.samples.size / 22_050) for piece in pieces] == [1, 2, 1]
        assert isinstance(outcome, Spoken)
        assert outcome.engines == ("espeak",)
        until(lambda: cpu.warm_ups == 1, "the CPU is loaded")
        now = worker.snapshot()
        assert (now.state, now.engine) == (State.READY, "espeak")
        assert "PYTORCH_ENABLE_MPS_FALLBACK" in str(now.notice)
        assert "_weight_norm_interface" in str(now.last_error)
        cpu.release()
        speaks(worker, cpu)
        _, outcome = everything(submit(worker, "слово"))
        assert isinstance(outcome, Spoken)
        assert outcome.engines == ("ukrainian",)
        assert "the neural voice on cpu speaks instead" in str(worker.snapshot().notice)
    assert cpu.spoken == ["слово"]


def test_a_request_may_wait_for_the_preferred_engine_but_not_for_a_failed_one() -> None:
    voice, stand_in = neural(), espeak()
    voice.hold_warm_up()
    with working(stand_in, preferred=(voice,), pauses=(PATIENCE,)) as worker:
        state_is(worker, State.READY)
        with worker.slot():
            assert worker.snapshot().engine == "espeak"
        until(lambda: voice.warm_ups == 1, "the neural voice is tried")
        with worker.slot(0.001):
            assert worker.snapshot().engine == "espeak"
        voice.release()
        with worker.slot(PATIENCE):
            assert worker.snapshot().engine == "ukrainian"
        voice.hold_warm_up()
        voice.answer = fails
        outcome_of(submit(worker, "раз"))
        until(lambda: voice.warm_ups == 2, "it is looked into at once")
        voice._failures = 1
        voice.release()
        until(lambda: worker.snapshot().links[0].state is LinkState.FAILED, "it failed again")
        with worker.slot(10 * PATIENCE):
            assert worker.snapshot().engine == "espeak"
