"""`python -m services.tts --doctor`: what is there, what speaks, and what is in its way.

One JSON object a line: `check` names what was looked at, `level` is `ok`, `note` (it works, but not
as it could) or `wrong`, `text` says what was found, `hint` what to do or null, `details` is for
programs. Nothing is served and no port is opened.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
import time
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from services.tts import diagnosis
from services.tts.chain import WARM_UP_SECONDS, WARM_UP_SENTENCE
from services.tts.engine import DEFAULT_VOICE, SAMPLE_RATE, EngineError, Utterance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from services.tts.engine import Engine
    from services.tts.engines import EngineName

Level: TypeAlias = Literal["ok", "note", "wrong"]

_NEURAL: Final = ("torch", "espnet", "kaldiio")
_PACKAGES: Final = ("numpy", "espeakng-loader", "ukrainian-tn", "ukrainian-word-stress", *_NEURAL)
_FALLBACK: Final = "PYTORCH_ENABLE_MPS_FALLBACK"
_INCIDENT: Final = "aten::_weight_norm_interface"
_SENTENCE_LIMIT: Final = 60.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    check: str
    level: Level
    text: str
    hint: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


def run(*, engine: EngineName, device: str, model_dir: str, exact: bool) -> int:
    """Prints the findings for a server with these settings; 0 whatever they are."""
    # Libraries print what they like when they are imported; standard output is for findings.
    out = sys.stdout
    with redirect_stdout(sys.stderr):
        for finding in _findings(engine, device, model_dir, exact):
            print(json.dumps(asdict(finding), ensure_ascii=False), file=out, flush=True)
    return 0


def _findings(engine: EngineName, device: str, model_dir: str, exact: bool) -> Iterator[Finding]:
    yield _environment(os.environ.get(_FALLBACK))
    versions = _versions()
    yield _packages(versions, wanted=() if engine == "espeak" else _NEURAL)
    if engine != "espeak":
        files = _checked("files", lambda: _files(model_dir))
        yield files
        if files.level == "ok" and all(name in versions for name in _NEURAL):
            yield _checked("neural", lambda: _neural(device, model_dir, exact))
            yield _checked("operators", lambda: _operators(model_dir))
    if engine != "ukrainian":
        yield _checked("espeak", _espeak)


def _checked(check: str, look: Callable[[], Finding]) -> Finding:
    """What `look` finds; an exception is a finding too, so that the others are still told."""
    try:
        return look()
    except Exception as error:  # noqa: BLE001 - told as what it is
        return Finding(check, "wrong", diagnosis.reason(error), diagnosis.remedy(error))


def _environment(fallback: str | None) -> Finding:
    details = {_FALLBACK: fallback, "platform": platform.platform()}
    if sys.platform != "darwin":
        return Finding("environment", "ok", f"{_FALLBACK} matters on a Mac only", None, details)
    if fallback in (None, "1"):
        text = f"{_FALLBACK} is on: what MPS lacks is computed on the CPU"
        return Finding("environment", "ok", text, None, details)
    return Finding(
        "environment",
        "note",
        f"{_FALLBACK} is {fallback!r}: a synthesis fails at the first operator that MPS lacks",
        "remove it or set it to 1 (config/services.yaml, env of tts)",
        details,
    )


def _versions() -> dict[str, str]:
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _packages(versions: dict[str, str], *, wanted: tuple[str, ...]) -> Finding:
    details = {"python": platform.python_version(), **versions}
    text = ", ".join(f"{name} {version}" for name, version in details.items())
    missing = [name for name in wanted if name not in versions]
    if missing:
        return Finding(
            "packages",
            "note",
            f"the neural voice needs {', '.join(missing)}, which {_are(missing)} not installed",
            "run `make neural`",
            details,
        )
    return Finding("packages", "ok", text, None, details)


def _are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _files(model_dir: str) -> Finding:
    from services.tts.engines.ukrainian import files

    try:
        found = files.read(Path(model_dir))
    except EngineError as error:
        # Without them eSpeak NG speaks: that is less than could be, and no fault.
        text = str(error).removesuffix(f": {error.remedy}")
        return Finding("files", "note", text, error.remedy, {"directory": model_dir})
    details = {"directory": model_dir, "fingerprint": found.fingerprint}
    return Finding("files", "ok", f"the files in {model_dir} are a whole voice", None, details)


def _neural(device: str, model_dir: str, exact: bool) -> Finding:
    from services.tts.engines.ukrainian import Ukrainian

    engine = Ukrainian(
        device=device, model_dir=model_dir, sentence_limit=_SENTENCE_LIMIT, exact=exact
    )
    spoken = _spoken("neural", engine)
    if engine.device_reason is None:
        return spoken
    return Finding("neural", "note", engine.device_reason, None, spoken.details)


def _espeak() -> Finding:
    from services.tts.engines.espeak import Espeak

    return _spoken("espeak", Espeak())


def _spoken(check: str, engine: Engine) -> Finding:
    """Readiness as the server has it: a word that can be heard."""
    from services.tts import audio

    began = time.perf_counter()
    engine.load()
    try:
        loaded = time.perf_counter()
        (samples,) = engine.synthesise(
            [Utterance(WARM_UP_SENTENCE, DEFAULT_VOICE, 1.0)], give_up=lambda: False
        )
        ended = time.perf_counter()
        fingerprint = engine.fingerprint
    finally:
        engine.unload()
    heard = audio.audible_seconds(samples, SAMPLE_RATE)
    if heard <= WARM_UP_SECONDS:
        raise EngineError(f"{engine.name} was audible for {heard:.2f} s only")
    details = {
        "device": engine.device,
        "fingerprint": fingerprint,
        "load_seconds": round(loaded - began, 2),
        "word_seconds": round(ended - loaded, 3),
    }
    return Finding(check, "ok", f"{engine.name} speaks on {engine.device}", None, details)


def _operators(model_dir: str) -> Finding:
    from services.tts.engines.ukrainian import operators

    audit = operators.audit_voice(Path(model_dir))
    details = asdict(audit)
    count = len(audit.operators)
    if _INCIDENT in audit.operators:
        return Finding(
            "operators",
            "wrong",
            f"a synthesis asks for {_INCIDENT}: weight norm is not folded",
            "set PYTORCH_ENABLE_MPS_FALLBACK=1, and report this",
            details,
        )
    if audit.without_mps or audit.in_float64:
        named = ", ".join((*audit.without_mps, *audit.in_float64))
        return Finding(
            "operators",
            "note",
            f"of {count} operators that a synthesis asks for, MPS lacks {named}",
            f"on a Mac leave {_FALLBACK} at 1, or start with --device cpu",
            details,
        )
    text = f"MPS has all {count} operators that a synthesis asks for, {_INCIDENT} not among them"
    return Finding("operators", "ok", text, None, details)
