"""Runs atlasctl and its peers interleaved and prints their figures: see README.md.

python -m benchmarks.supervisors [--peers atlasctl,s6] [--only restart,idle] [--quick]
"""

import argparse
import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from benchmarks import proc, scenarios
from benchmarks.beacon import BenchmarkError, build
from benchmarks.peers.layout import Peer
from benchmarks.peers.python import install
from benchmarks.peers.registry import FROM_PYPI, LIMIT, peers
from benchmarks.report import Outcome, render
from benchmarks.rig import Rig
from benchmarks.scenarios import Bench, names

CHECKOUT = str(Path(__file__).parents[1])
PARTS = ("start", "restart", "idle", "status", "storm", "logs", "hostile")
STORM_SERVICES = 100
STATUS_SIZES = (1, 100)
RIVALS = 4
"""Services of each peer where restarts are measured: while one is young another is killed."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    parts: tuple[str, ...]
    sizes: tuple[int, ...]
    rounds: int
    repeats: int
    idle_seconds: float
    settle: float
    megabytes: int
    status_times: int


def main(argv: Sequence[str]) -> int:
    """Run; return 0, or 1 if atlasctl itself failed at something or anything was left behind."""
    options = _options(argv)
    if sys.platform != "linux":
        print("the benchmark reads /proc: it runs on Linux only", file=sys.stderr)
        return 2
    plan = _plan(options)
    outcome = Outcome()
    with tempfile.TemporaryDirectory(prefix="atlas-bench-") as folder:
        try:
            beacon = build(folder)
            chosen = _chosen(options, outcome)
        except BenchmarkError as error:
            print(error, file=sys.stderr)
            return 2
        bench = Bench(beacon, lambda key, peer, value: outcome.record(key, peer.name, value))
        run = Run(bench, outcome, plan)
        # So that what runs is taken down also where the benchmark itself is asked to end.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            run.all(chosen)
        except KeyboardInterrupt:
            outcome.failures.append("interrupted: what follows was not measured")
    print(render(outcome, plan.sizes, "atlasctl", LIMIT, _machine()), end="")
    if options.json:
        Path(options.json).write_text(
            json.dumps({"plan": asdict(plan), **asdict(outcome)}, indent=1)
        )
    ours = [f for f in outcome.failures if f.startswith(("atlasctl", "interrupted"))]
    return 1 if ours or any(left.startswith("atlasctl") for left in outcome.left) else 0


class Run:
    """One run of all that is planned."""

    def __init__(self, bench: Bench, outcome: Outcome, plan: Plan) -> None:
        self._bench = bench
        self._outcome = outcome
        self._plan = plan

    def all(self, chosen: Sequence[Peer]) -> None:
        """Measure part after part, each with the peers taking turns."""
        able = [peer for peer in chosen if self._works(peer)]
        self._outcome.peers = [peer.name for peer in able]
        if {"start", "idle", "status", "restart"} & set(self._plan.parts):
            for size in self._plan.sizes:
                self._turns(f"{size} services", able, partial(self._session, size))
        if "restart" in self._plan.parts:
            self._restarts(able)
        if "storm" in self._plan.parts:
            self._turns(
                "crash storm",
                able,
                lambda p: scenarios.storm(self._bench, p, STORM_SERVICES, self._plan.status_times),
            )
        if "logs" in self._plan.parts:
            self._turns("logs", able, self._logs)
        if "hostile" in self._plan.parts:
            self._turns("hostile tree", able, self._hostile, repeats=1)

    def _works(self, peer: Peer) -> bool:
        """Start a peer once, which also warms the caches; one that fails is out."""
        with self._guard(peer, "first start") as guard, self._rig(peer, 1) as rig:
            rig.start(names(1), 60.0)
            rig.restart(*names(1), age=scenarios.OLD_ENOUGH)
            guard.passed = True
        return guard.passed

    def _turns(
        self,
        what: str,
        able: Sequence[Peer],
        measure: Callable[[Peer], None],
        repeats: int | None = None,
    ) -> None:
        """Let the peers take turns, with another one first each time."""
        self._begin(what)
        for repeat in range(repeats or self._plan.repeats):
            first = repeat % len(able) if able else 0
            for peer in [*able[first:], *able[:first]]:
                _progress(f"{what}, {repeat + 1}: {peer.name}")
                with self._guard(peer, what):
                    measure(peer)

    def _session(self, size: int, peer: Peer) -> None:
        """Start, idle and status of one size, with one start of the peer."""
        parts = set(self._plan.parts)
        if parts & {"start", "idle"} or ("status" in parts and size in STATUS_SIZES):
            with self._rig(peer, size, hurried=False) as rig:
                scenarios.start(self._bench, rig, size)
                if "idle" in parts:
                    scenarios.idle(
                        self._bench, rig, size, self._plan.settle, self._plan.idle_seconds
                    )
                if "status" in parts and size in STATUS_SIZES:
                    scenarios.status(self._bench, rig, str(size), self._plan.status_times)
        if "restart" in parts and size > 1:
            with self._rig(peer, size) as rig:
                rig.start(names(size), scenarios.START_TIMEOUT)
                for number in range(self._plan.status_times):
                    scenarios.restart(self._bench, rig, f"among {size}", number)

    def _restarts(self, able: Sequence[Peer]) -> None:
        """Have all peers up at once, and one service of each killed in turn."""
        self._begin("restarts")
        with contextlib.ExitStack() as stack:
            rigs: list[Rig] = []
            for peer in able:
                with self._guard(peer, "restarts"):
                    rig = stack.enter_context(self._rig(peer, RIVALS))
                    rig.start(names(RIVALS), 60.0)
                    rigs.append(rig)
            for number in range(self._plan.rounds):
                if number % 20 == 0:
                    _progress(f"restarts, round {number}")
                for rig in list(rigs):
                    with self._guard(rig.peer, "restarts") as guard:
                        scenarios.restart(self._bench, rig, "1", number)
                        guard.passed = True
                    if not guard.passed:
                        rigs.remove(rig)

    def _logs(self, peer: Peer) -> None:
        found = scenarios.logs(self._bench, peer, self._plan.megabytes)
        if found is not None:
            self._outcome.tallies[peer.name] = found

    def _hostile(self, peer: Peer) -> None:
        found = scenarios.hostile(self._bench, peer)
        if found is not None:
            self._outcome.stops[peer.name] = found

    @contextlib.contextmanager
    def _rig(self, peer: Peer, count: int, *, hurried: bool = True) -> Iterator[Rig]:
        with self._bench.rig(peer, count, hurried=hurried) as rig:
            yield rig
        if rig.left:
            self._outcome.left.append(f"{peer.name}, {count} services: {rig.left}")

    @contextlib.contextmanager
    def _guard(self, peer: Peer, what: str) -> Iterator["Guard"]:
        """Report what goes wrong with a peer, and go on."""
        guard = Guard()
        try:
            yield guard
        except (BenchmarkError, OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
            self._outcome.failures.append(f"{peer.name}, {what}: {type(error).__name__}: {error}")
            _progress(self._outcome.failures[-1])

    def _begin(self, what: str) -> None:
        self._outcome.loads.append((what, proc.load()))


@dataclass(slots=True)
class Guard:
    """Whether what was guarded came to its end."""

    passed: bool = False


def _chosen(options: argparse.Namespace, outcome: Outcome) -> list[Peer]:
    """Return the peers that were asked for and are installed."""
    every = peers(options.code or [CHECKOUT], options.cache)
    known = [peer.name for peer in every]
    asked = options.peers.split(",") if options.peers else known
    if unknown := [name for name in asked if name not in known]:
        raise BenchmarkError(f"no peer is called {unknown[0]}; there are: {', '.join(known)}")
    chosen = []
    for peer in every:
        if peer.name not in asked:
            continue
        if options.install and peer.name in FROM_PYPI and peer.missing():
            try:
                install(FROM_PYPI[peer.name], options.cache)
            except (OSError, subprocess.SubprocessError) as error:
                outcome.failures.append(f"{peer.name}, installation: {error}")
        missing = peer.missing()
        if missing is not None:
            outcome.skipped[peer.name] = f"not installed ({missing})"
            _progress(f"{peer.name} is not installed ({missing})")
            continue
        outcome.versions[peer.name] = peer.version()
        outcome.caveats[peer.name] = peer.caveats
        chosen.append(peer)
    return chosen


def _plan(options: argparse.Namespace) -> Plan:
    quick = options.quick
    parts = tuple(options.only.split(",")) if options.only else PARTS
    return Plan(
        parts=parts,
        sizes=tuple(options.sizes or ((1, 20) if quick else (1, 100, 500))),
        rounds=options.rounds or (10 if quick else 200),
        repeats=options.repeats or (1 if quick else 3),
        idle_seconds=options.idle_seconds or (2.0 if quick else 10.0),
        settle=1.0 if quick else 3.0,
        megabytes=options.megabytes or (20 if quick else 200),
        status_times=3 if quick else 15,
    )


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.supervisors", description=__doc__)
    say = parser.add_argument
    cache = os.path.join(tempfile.gettempdir(), "atlas-bench-cache")
    say("--peers", help="names with commas between; default: all that are installed")
    say("--only", type=_parts, help=f"some of: {','.join(PARTS)}")
    say("--quick", action="store_true", help="little of everything: does it work at all")
    say("--rounds", type=_positive, help="kills of each peer for the restart latency")
    say("--repeats", type=_positive, help="turns of each peer in every other part")
    say("--sizes", type=_sizes, help="numbers of services; default 1,100,500")
    say("--idle-seconds", type=float, help="how long idleness is watched")
    say("--megabytes", type=_positive, help="how much is logged")
    say("--code", action="append", help="checkout of atlasctl, again for another to compare with")
    say("--cache", default=cache, help="where peers from PyPI and npm are")
    say("--install", action="store_true", help="install those from PyPI there")
    say("--json", help="write every sample to this file")
    options = parser.parse_args(argv)
    options.cache = os.path.abspath(options.cache)
    options.code = [os.path.abspath(code) for code in options.code or ()]
    return options


def _parts(text: str) -> str:
    for part in text.split(","):
        if part not in PARTS:
            raise argparse.ArgumentTypeError(f"{part!r} is not one of {', '.join(PARTS)}")
    return text


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(sorted(_positive(word) for word in text.split(",")))


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)


def _machine() -> str:
    return (
        f"{platform.system()} {platform.release()} {platform.machine()}, {os.cpu_count()} CPUs, "
        f"Python {platform.python_version()}, load {proc.load():.1f}"
    )


def _progress(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
