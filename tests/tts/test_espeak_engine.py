"""The real eSpeak NG: five voices apart, stress where the mark is, speed as asked."""

from __future__ import annotations

import ctypes
from itertools import combinations

import numpy as np
import pytest

from services.tts import audio
from services.tts.engine import SAMPLE_RATE, VOICES, EngineError, GivenUp, Utterance
from services.tts.engines.espeak import Espeak, _with_stress

SENTENCE = "добрий день, сьогодні дуже гарна погода і ми йдемо гуляти до парку."


@pytest.fixture(scope="module")
def engine() -> Espeak:
    engine = Espeak()
    engine.load()
    return engine


def say(engine: Espeak, sentence: str, *, voice: str = "dmytro", speed: float = 1.0) -> np.ndarray:
    (samples,) = engine.synthesise([Utterance(sentence, voice, speed)], give_up=lambda: False)
    return audio.trim(samples, SAMPLE_RATE)


def median_pitch(samples: np.ndarray) -> float:
    """Median fundamental in Hz of the voiced frames, by autocorrelation."""
    found = []
    for at in range(0, samples.size - 2048, 128):
        frame = samples[at : at + 1024] - samples[at : at + 1024].mean()
        if np.sqrt(np.mean(frame**2)) < 0.02:
            continue
        likeness = np.correlate(frame, frame, "full")[1023:]
        low, high = SAMPLE_RATE // 450, SAMPLE_RATE // 55
        lag = low + int(likeness[low:high].argmax())
        if likeness[lag] > 0.5 * likeness[0]:
            found.append(SAMPLE_RATE / lag)
    assert len(found) > 20
    return float(np.median(found))


def test_the_voices_differ_in_pitch_and_women_are_above_men(engine: Espeak) -> None:
    pitches = {voice: median_pitch(say(engine, SENTENCE, voice=voice)) for voice in VOICES}
    for one, other in combinations(pitches.values(), 2):
        assert max(one, other) / min(one, other) > 1.12, pitches
    women = min(pitches["tetiana"], pitches["lada"])
    men = max(pitches["mykyta"], pitches["dmytro"], pitches["oleksa"])
    assert women > 1.3 * men, pitches


@pytest.mark.parametrize("voice", VOICES)
def test_no_voice_is_clipped(engine: Espeak, voice: str) -> None:
    samples = say(engine, SENTENCE, voice=voice)
    assert 0.1 < float(np.abs(samples).max()) < 0.99


@pytest.mark.parametrize("speed", [0.25, 0.4, 0.65, 0.8, 1.5, 2.5, 2.6, 4.0])
def test_speed_divides_the_duration_and_keeps_the_pitch(engine: Espeak, speed: float) -> None:
    usual, changed = say(engine, SENTENCE), say(engine, SENTENCE, speed=speed)
    assert usual.size / changed.size == pytest.approx(speed, rel=0.05)
    assert median_pitch(changed) == pytest.approx(median_pitch(usual), rel=0.15)


def phonemes(engine: Espeak, sentence: str) -> str:
    """What the library makes of a sentence, phoneme input included, in IPA."""
    assert engine._library is not None
    library = engine._library.calls
    # Only a synthesis sets the mode in which `[[...]]` is phonemes. It also selects a voice:
    # without one the library reads memory that is not its own.
    say(engine, "так")
    buffer = ctypes.create_string_buffer(_with_stress(library, sentence).encode())
    pointer = ctypes.c_char_p(ctypes.addressof(buffer))
    read: list[str] = []
    while pointer.value:
        read.append(
            (library.espeak_TextToPhonemes(ctypes.byref(pointer), 0x101, 2) or b"").decode()
        )
    return " ".join(read)


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("з+амок", "zˈamok"),
        ("зам+ок", "zamˈok"),
        ("за\u0301мок", "zˈamok"),
        ("замо\u0301к", "zamˈok"),
        ("З+АМОК", "zˈamok"),
        ("м+олоко", "mˈoloko"),
        ("молок+о", "molokˈo"),
        ("об'+єднання", "objˈɛdnanɲa"),
        ("укра+їнська", "ukrajˈiːnska"),
        ("сьогодн+і", "sʲohodɲˈiː"),
        ("пр+ацьовитий", "prˈatsʲoβɪt̪ɪj"),
    ],
)
def test_a_mark_moves_the_stress(engine: Espeak, sentence: str, expected: str) -> None:
    assert phonemes(engine, sentence).replace(" ", "") == expected


def test_a_word_that_is_stressed_so_anyway_is_left_to_the_library(engine: Espeak) -> None:
    assert engine._library is not None
    library = engine._library.calls
    assert _with_stress(library, "сист+ема пр+ивіт, д+ень") == "система [[p|R|'I|B|i:|t[]], день"


@pytest.mark.parametrize(
    "sentence",
    ["+", "так + ні", "так+", "+так", "т+ак", "п'+ять", "++а", "в+", "сл+овник + мо\u0301ва"],
)
def test_a_mark_is_never_said(engine: Espeak, sentence: str) -> None:
    assert "pʎˈu" not in phonemes(engine, sentence)
    assert "+" not in phonemes(engine, sentence)


@pytest.mark.parametrize(
    "sentence", ["[[abc]] так", "<b>так</b>", "{так}", "так \\ так", "так_так"]
)
def test_what_it_would_spell_out_is_not_said(engine: Espeak, sentence: str) -> None:
    spoken = phonemes(engine, sentence)
    assert "dˈuʃka" not in spoken, "a bracket was named"
    assert "kosˈa" not in spoken, "a slash was named"
    assert "t̪ˈak" in spoken


def test_a_sentence_beyond_its_limit_is_stopped_and_the_next_is_spoken() -> None:
    engine = Espeak(sentence_limit=0.0)
    engine.load()
    with pytest.raises(EngineError, match="over 0 s"):
        say(engine, SENTENCE)
    patient = Espeak()
    patient.load()
    assert say(patient, SENTENCE).size > 2 * SAMPLE_RATE


def test_a_sentence_that_is_given_up_is_left_and_the_next_is_spoken(engine: Espeak) -> None:
    asked: list[None] = []

    def give_up() -> bool:
        asked.append(None)
        return len(asked) == 3

    with pytest.raises(GivenUp):
        engine.synthesise([Utterance(SENTENCE, "dmytro", 0.65)] * 2, give_up=give_up)
    assert len(asked) == 3
    assert say(engine, SENTENCE).size > 2 * SAMPLE_RATE


def test_sentences_given_together_come_back_in_their_order(engine: Espeak) -> None:
    spoken = engine.synthesise(
        [Utterance("так", "lada", 1.0), Utterance(SENTENCE, "lada", 1.0)], give_up=lambda: False
    )
    assert [samples.size > 2 * SAMPLE_RATE for samples in spoken] == [False, True]


def test_two_engines_share_the_library_and_each_gets_its_own_samples(engine: Espeak) -> None:
    other = Espeak()
    other.load()
    high = median_pitch(say(other, SENTENCE, voice="lada"))
    low = median_pitch(say(engine, SENTENCE, voice="oleksa"))
    again = median_pitch(say(other, SENTENCE, voice="lada"))
    assert high > 2 * low
    assert again == pytest.approx(high, rel=0.05)


def test_another_device_is_explained() -> None:
    assert Espeak(device="auto").device_reason is None
    assert Espeak(device="cpu").device_reason is None
    assert "cuda was asked for" in str(Espeak(device="cuda").device_reason)
    assert Espeak(device="cuda").device == "cpu"
