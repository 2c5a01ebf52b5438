"""Measures the neural voice of this checkout beside stock `ukrainian_tts`: see README.md.

python -m benchmarks.tts [--quick] [--json FILE] [--rounds N] [--exact] [--model DIR]
"""

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks import proc
from benchmarks.figures import median
from benchmarks.voices.comparison import Comparison, table, verdicts
from benchmarks.voices.speakers import (
    CHECKOUT,
    PATIENCE,
    Heard,
    Ours,
    Speaker,
    SpeakerError,
    Stock,
)
from benchmarks.voices.texts import text

CLIENTS: Final = 8
CLIENT_CHARACTERS: Final = 60
FRAMES_PER_TOKEN: Final = 5
"""A random model never ends by itself; real speech has about as many."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    starts: int
    rounds: dict[int, int]
    """How often a text of so many characters is spoken."""
    crowds: int
    """How often 8 clients come at once."""
    exact: bool


@dataclass(slots=True)
class Outcome:
    """All that a run has found, in seconds and bytes, by what was measured and by voice."""

    samples: Comparison = field(default_factory=dict)
    likeness: dict[str, Any] = field(default_factory=dict)
    """What `benchmarks.voices.likeness` prints."""
    loads: list[tuple[str, float]] = field(default_factory=list)

    def record(self, key: str, voice: str, value: float) -> None:
        """Adds a sample."""
        self.samples.setdefault(key, {}).setdefault(voice, []).append(value)

    def heard(self, key: str, voice: str, heard: Heard) -> None:
        """Adds the three times of a text."""
        self.record(f"{key}/whole", voice, heard.whole)
        self.record(f"{key}/first", voice, heard.first)
        self.record(f"{key}/audio", voice, heard.audio)


def main(argv: Sequence[str]) -> int:
    """Runs; returns 0, 1 if a voice failed at something, 2 where this cannot run."""
    options = _options(argv)
    if sys.platform != "linux":
        print("the benchmark reads /proc: it runs on Linux only", file=sys.stderr)
        return 2
    plan = _plan(options)
    outcome = Outcome()
    failure = None
    with _model(options.model) as model:
        try:
            _starts(outcome, plan, model)
            _speech(outcome, plan, model)
            _likeness(outcome, model)
        except (SpeakerError, subprocess.SubprocessError) as error:
            failure = str(error)
    print(f"# Voices side by side\n\n{_machine()}\n")
    print(table(outcome.samples))
    print("\n".join(verdicts(outcome.samples)))
    if outcome.likeness:
        print(f"\n{_likeness_in_words(outcome.likeness)}")
    loads = [load for _, load in outcome.loads]
    print(f"\nLoad of the machine (1 min): {min(loads):.1f} to {max(loads):.1f}")
    if failure:
        print(f"FAILED: {failure}")
    if options.json:
        Path(options.json).write_text(
            json.dumps({"machine": _machine(), "plan": asdict(plan), **asdict(outcome)}, indent=1)
        )
    return 1 if failure else 0


def _starts(outcome: Outcome, plan: Plan, model: Path) -> None:
    """From the start of the process to the end of its first word."""
    for number in range(plan.starts):
        for name in _turn(number):
            _begin(outcome, f"start {number + 1} of {name}")
            with _speaking(name, model, plan) as speaker:
                speaker.say(_pipeline("привіт"))
                outcome.record("start", name, time.perf_counter() - speaker.process.began)


def _speech(outcome: Outcome, plan: Plan, model: Path) -> None:
    with _speaking("stock", model, plan) as stock, _speaking("ours", model, plan) as ours:
        speakers = {"stock": stock, "ours": ours}
        for speaker in speakers.values():
            speaker.say(_pipeline("привіт, як справи?"))
        for characters, rounds in plan.rounds.items():
            for number in range(rounds):
                said = _pipeline(text(characters, number))
                for name in _turn(number):
                    _begin(outcome, f"{characters} characters, {number + 1}: {name}")
                    outcome.heard(f"{characters}", name, speakers[name].say(said))
        for number in range(plan.crowds):
            texts = [
                _pipeline(text(CLIENT_CHARACTERS, 1000 + CLIENTS * number + client))
                for client in range(CLIENTS)
            ]
            for name in _turn(number):
                _begin(outcome, f"{CLIENTS} clients, {number + 1}: {name}")
                heard = speakers[name].say_all(texts)
                outcome.record("crowd/last", name, max(one.whole for one in heard))
                outcome.record("crowd/first", name, median([one.first for one in heard]))
        for name, speaker in speakers.items():
            memory = speaker.process.memory()
            outcome.record("pss", name, memory.pss)
            outcome.record("rss", name, memory.rss)


def _likeness(outcome: Outcome, model: Path) -> None:
    _begin(outcome, "likeness")
    sentences = [_pipeline(text(CLIENT_CHARACTERS, 2000 + number)) for number in range(2)]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.voices.likeness"),
            *(str(model), str(FRAMES_PER_TOKEN), *sentences),
        ],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    outcome.likeness = json.loads(done.stdout.splitlines()[-1])


def _likeness_in_words(found: Mapping[str, Any]) -> str:
    exact, default = max(found["exact"]), max(found["default"])
    return (
        "Mel distance to stock for the same random numbers, as many samples each: "
        f"{default:.2g} dB by default ({found['precision']}), {exact:.2g} dB with --exact"
    )


def _turn(number: int) -> tuple[str, str]:
    """The voices, with the other one first each time."""
    return ("stock", "ours") if number % 2 == 0 else ("ours", "stock")


@contextlib.contextmanager
def _speaking(name: str, model: Path, plan: Plan) -> Iterator[Speaker]:
    speaker: Stock | Ours
    if name == "stock":
        speaker = Stock(model, FRAMES_PER_TOKEN)
    else:
        speaker = Ours(model, FRAMES_PER_TOKEN, clients=CLIENTS, exact=plan.exact)
    try:
        yield speaker
    finally:
        speaker.process.close()


def _pipeline(raw: str) -> str:
    """What our server makes of a text, which is also what stock is given: the same tokens."""
    from services.tts.text import spoken

    return spoken(raw).text


@contextlib.contextmanager
def _model(given: str | None) -> Iterator[Path]:
    """A directory with a voice of full size, random unless one was given."""
    if given:
        yield Path(given).resolve()
        return
    from tests.voices import random_model

    with tempfile.TemporaryDirectory(prefix="atlas-bench-") as folder:
        _progress("making a voice of random weights, 446 MB")
        random_model.write(Path(folder), "full")
        yield Path(folder)


def _plan(options: argparse.Namespace) -> Plan:
    quick = options.quick
    rounds = options.rounds or (1 if quick else 5)
    return Plan(
        starts=1 if quick else 3,
        rounds={
            10: rounds,
            60: rounds,
            300: min(rounds, 3),
            **({} if quick else {1000: 1}),
        },
        crowds=1,
        exact=options.exact,
    )


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tts", description=__doc__)
    say = parser.add_argument
    say("--quick", action="store_true", help="little of everything: does it work at all")
    say("--rounds", type=int, help="how often the short texts are spoken (default: 5)")
    say("--exact", action="store_true", help="ours without the trade of precision for speed")
    say("--model", help="directory of a voice (default: one of random weights is made)")
    say("--json", help="write every sample to this file")
    return parser.parse_args(argv)


def _machine() -> str:
    return (
        f"{platform.system()} {platform.release()} {platform.machine()}, {os.cpu_count()} CPUs, "
        f"Python {platform.python_version()}"
    )


def _begin(outcome: Outcome, what: str) -> None:
    outcome.loads.append((what, proc.load()))
    _progress(what)


def _progress(said: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {said}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
