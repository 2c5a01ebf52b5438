"""eSpeak NG, the engine that needs no model and so is always there.

The library is one global state: this class is used from one thread, and one instance lives in a
process. It is GPL-3 and installed separately, so it is loaded only when asked for.
"""

from __future__ import annotations

import ctypes
import functools
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from services.tts.engine import SAMPLE_RATE, EngineError, GivenUp, NotInstalledError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.tts.engine import Samples, Utterance

# Names and values of espeak-ng/speak_lib.h (1.52).
_AUDIO_OUTPUT_SYNCHRONOUS: Final = 2
_INITIALIZE_DONT_EXIT: Final = 0x8000
_RATE: Final = 1
_VOLUME: Final = 2
_CHARS_UTF8: Final = 1
_PHONEMES: Final = 0x100
_POS_CHARACTER: Final = 1
# The bits from 8 on are the separator. Without one, "s" and the softening ";" of "сьогодні" are
# read back as the one phoneme "s;", which is another.
_SEPARATED: Final = ord("|") << 8

_BASE_RATE: Final = 175
# Measured on a sentence of 5.4 s: the duration follows the rate between 105 and 449 words a minute
# (within 5 %); below 105 it no longer changes and at 450 another algorithm takes over with a step.
_MIN_NATIVE_SPEED: Final = 0.65
_MAX_NATIVE_SPEED: Final = 2.5

_VOWEL_LETTERS: Final = "аеєиіїоуюя"
_LETTERS: Final = "абвгґдеєжзиіїйклмнопрстуфхцчшщьюя"
_VOWEL_PHONEME: Final = re.compile(r"[aEeIiouy@]")
_STRESSED_WORD: Final = re.compile(rf"[{_LETTERS}'’ʼ+]*\+[{_LETTERS}'’ʼ+]*", re.IGNORECASE)
_UNSAYABLE: Final = re.compile(rf"[^{_LETTERS}0-9a-z'’ʼ.,!?;:…—–\-\"«»„“() ]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Timbre:
    """A variant of the package's `voices/!v` and the volume in percent at which it is not clipped.

    At the default of 100 most variants clip (peaks of 1.00), and normalisation cannot undo that.
    """

    variant: str
    volume: int


# Median pitch as measured: 181, 127, 230, 106 and 88 Hz, each a fifth or more from its neighbour.
_TIMBRES: Final = {
    "tetiana": _Timbre("f1", 50),
    "mykyta": _Timbre("ed", 25),
    "lada": _Timbre("linda", 50),
    "dmytro": _Timbre("m3", 50),
    "oleksa": _Timbre("paul", 25),
}

_SynthCallback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


class Espeak:
    """The Engine over libespeak-ng; five variants stand for the five voices."""

    name: str = "espeak"
    device: str = "cpu"
    sample_rate: int = SAMPLE_RATE
    batch: int = 1
    fingerprint: str = ""  # a sentence takes it a few milliseconds

    def __init__(self, *, device: str = "auto", sentence_limit: float = 20.0) -> None:
        """`device` is what was asked for; `sentence_limit` bounds one sentence in seconds."""
        self.device_reason: str | None = None
        if device not in ("auto", "cpu"):
            self.device_reason = f"eSpeak NG runs on the CPU only; {device} was asked for"
        self._sentence_limit = sentence_limit
        self._library: _Library | None = None
        self._chunks: list[bytes] = []
        self._give_up_at = 0.0
        self._give_up: Callable[[], bool] = _never
        self._given_up = False
        # ctypes frees a callback that nobody holds, and the library would then call freed memory.
        self._callback = _SynthCallback(self._receive)

    def load(self) -> None:
        """Opens the library and its Ukrainian data; about 5 ms."""
        self._library = _open()

    def unload(self) -> None:
        """Does nothing: the library cannot be started twice in a process, and is small."""

    def synthesise(
        self, batch: Sequence[Utterance], *, give_up: Callable[[], bool]
    ) -> list[Samples]:
        """Speaks sentences one by one; see Engine.

        One that takes longer than `sentence_limit` is stopped with an EngineError.
        """
        return [self._speak(utterance, give_up) for utterance in batch]

    def _speak(self, utterance: Utterance, give_up: Callable[[], bool]) -> Samples:
        import numpy as np

        library = self._library
        if library is None:
            raise EngineError("eSpeak NG is not loaded")
        calls = library.calls
        calls.espeak_SetSynthCallback(self._callback)
        _select(library, utterance.voice)
        speed = utterance.speed
        native = min(max(speed, _MIN_NATIVE_SPEED), _MAX_NATIVE_SPEED)
        calls.espeak_SetParameter(_RATE, round(_BASE_RATE * native), 0)
        text = _with_stress(calls, utterance.sentence).encode() + b"\0"
        self._chunks.clear()
        self._give_up_at = time.monotonic() + self._sentence_limit
        self._give_up, self._given_up = give_up, False
        code = calls.espeak_Synth(
            text, len(text), 0, _POS_CHARACTER, 0, _CHARS_UTF8 | _PHONEMES, None, None
        )
        self._give_up = _never
        pcm = b"".join(self._chunks)
        self._chunks.clear()
        if self._given_up:
            raise GivenUp
        if time.monotonic() >= self._give_up_at:
            raise EngineError(f"one sentence took eSpeak NG over {self._sentence_limit:g} s")
        if code != 0:
            raise EngineError(f"eSpeak NG refused a sentence (code {code})")
        samples: Samples = np.frombuffer(pcm, dtype=np.int16).astype(np.float32)
        samples /= np.float32(32_768)
        if speed != native:
            from services.tts.audio import stretch

            samples = stretch(samples, SAMPLE_RATE, native / speed)
        return samples

    def _receive(self, wave: int | None, count: int, events: int | None) -> int:
        """Called by the library with each stretch of samples; 1 tells it to stop."""
        del events
        if wave and count > 0:
            self._chunks.append(ctypes.string_at(wave, 2 * count))
        # Once said it stays said: the library may call once more after it was told to stop.
        self._given_up = self._given_up or self._give_up()
        return int(self._given_up or time.monotonic() >= self._give_up_at)


@dataclass(slots=True)
class _Library:
    """The loaded library and the voice that is selected in it, which is its state and not ours."""

    calls: ctypes.CDLL
    voice: str | None = None


def _never() -> bool:
    return False


@functools.cache
def _open() -> _Library:
    """Loads and initialises the library, once in a process.

    A second espeak_Initialize frees phoneme data that the library still reads (seen with valgrind,
    and as a crash now and then). A failure is not kept: the next call tries again.
    """
    try:
        import espeakng_loader
    except ImportError as error:
        raise NotInstalledError(
            "eSpeak NG is not installed: run `pip install espeakng-loader`"
        ) from error
    try:
        data_path = str(espeakng_loader.get_data_path())
        library = ctypes.CDLL(str(espeakng_loader.get_library_path()))
    except (OSError, RuntimeError) as error:
        raise EngineError(
            f"the eSpeak NG library does not load ({error}): "
            "run `pip install --force-reinstall espeakng-loader`"
        ) from error
    _declare(library)
    rate = library.espeak_Initialize(
        _AUDIO_OUTPUT_SYNCHRONOUS, 0, data_path.encode(), _INITIALIZE_DONT_EXIT
    )
    if rate <= 0:
        # The library keeps the path in a fixed buffer, so a very long one fails here too.
        raise EngineError(
            f"eSpeak NG does not start with its data in {data_path} (code {rate}); is the "
            "folder complete, and its path shorter than 160 characters?"
        )
    if rate != SAMPLE_RATE:
        raise EngineError(f"eSpeak NG speaks at {rate} Hz, {SAMPLE_RATE} Hz are promised")
    return _Library(library)


def _select(library: _Library, voice: str) -> None:
    if voice == library.voice:
        return
    timbre = _TIMBRES[voice]
    name = f"uk+{timbre.variant}"
    library.voice = None
    if library.calls.espeak_SetVoiceByName(name.encode()) != 0:
        raise EngineError(
            f"eSpeak NG has no voice {name}: run `pip install --force-reinstall espeakng-loader`"
        )
    library.calls.espeak_SetParameter(_VOLUME, timbre.volume, 0)
    library.voice = voice


def _declare(library: ctypes.CDLL) -> None:
    # Without these ctypes passes 64-bit pointers and sizes as C ints.
    library.espeak_Initialize.argtypes = [
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_int,
    ]
    library.espeak_SetSynthCallback.argtypes = [_SynthCallback]
    library.espeak_SetSynthCallback.restype = None
    library.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
    library.espeak_SetParameter.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int]
    library.espeak_Synth.argtypes = [
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_uint,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_uint,
        ctypes.c_void_p,
        ctypes.c_void_p,
    ]
    library.espeak_TextToPhonemes.argtypes = [
        ctypes.POINTER(ctypes.c_char_p),
        ctypes.c_int,
        ctypes.c_int,
    ]
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p


def _with_stress(library: ctypes.CDLL, sentence: str) -> str:
    """Replaces each word that carries a stress mark by its phonemes with the stress moved there.

    eSpeak NG says "плюс" for `+` and ignores U+0301, so neither mark can be left in the text; only
    phoneme input (`[[...]]`) moves a stress. Anything else it might spell out is taken away, the
    brackets first, because they would start phoneme input.
    """
    marked = re.sub(rf"([{_VOWEL_LETTERS}])\u0301", r"+\1", sentence, flags=re.IGNORECASE)
    parts: list[str] = []
    at = 0
    for match in _STRESSED_WORD.finditer(marked):
        parts.append(_UNSAYABLE.sub(" ", marked[at : match.start()]))
        parts.append(_stressed(library, match.group()))
        at = match.end()
    parts.append(_UNSAYABLE.sub(" ", marked[at:]))
    return "".join(parts)


def _stressed(library: ctypes.CDLL, word: str) -> str:
    plain = word.replace("+", "")
    before, mark, after = word.partition("+")
    vowels = sum(letter in _VOWEL_LETTERS for letter in plain.lower())
    if not mark or after[:1].lower() not in tuple(_VOWEL_LETTERS) or vowels < 2:
        return plain
    index = sum(letter in _VOWEL_LETTERS for letter in before.lower())
    read = _phonemes(library, plain)
    phonemes = re.sub(r"[',]", "", read)
    nuclei = [match.start() for match in _VOWEL_PHONEME.finditer(phonemes)]
    # Ukrainian reads every vowel letter as one vowel; where the library did not, its own reading
    # is better than a stress on the wrong one.
    if len(nuclei) != vowels:
        return plain
    unstressed, own, _ = read.partition("'")
    if own and len(_VOWEL_PHONEME.findall(unstressed)) == index:
        return plain
    place = nuclei[index]
    return f"[[{phonemes[:place]}'{phonemes[place:]}]]"


def _phonemes(library: ctypes.CDLL, word: str) -> str:
    """The library's own reading of one word in its ASCII mnemonics."""
    buffer = ctypes.create_string_buffer(word.encode())
    pointer = ctypes.c_char_p(ctypes.addressof(buffer))
    read: list[str] = []
    for _ in range(len(word)):
        if not pointer.value:
            break
        answer: bytes | None = library.espeak_TextToPhonemes(
            ctypes.byref(pointer), _CHARS_UTF8, _SEPARATED
        )
        read.append((answer or b"").decode("ascii", "replace"))
    return "".join(read).strip()
