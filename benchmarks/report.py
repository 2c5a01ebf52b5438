"""What is printed and written at the end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.figures import Metric, Results, Unit, markdown, p99, show, table
from benchmarks.numbered import Tally
from benchmarks.scenarios import HOSTILE_PARTS, Stopped
from benchmarks.targets import summary, verdicts


@dataclass(slots=True)
class Outcome:
    """All that a run has found."""

    samples: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    peers: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    caveats: dict[str, tuple[str, ...]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    stops: dict[str, Stopped] = field(default_factory=dict)
    tallies: dict[str, Tally] = field(default_factory=dict)
    loads: list[tuple[str, float]] = field(default_factory=list)
    """The machine's load before each part: it is not ours alone."""

    def record(self, key: str, peer: str, value: float) -> None:
        """Add a sample."""
        self.samples.setdefault(key, {}).setdefault(peer, []).append(value)


def sections(sizes: Sequence[int]) -> list[tuple[str, list[Metric]]]:
    """Return the tables: title and columns."""
    last = sizes[-1]
    return [
        (
            "Start, from the command until every service runs",
            [
                *(Metric(f"start/{n}", f"{n} services", Unit.MILLISECONDS) for n in sizes),
                Metric(f"start/cpu/{last}", f"{last}: CPU until idle", Unit.SECONDS),
                Metric(f"start/settled/{last}", f"{last}: idle after", Unit.SECONDS, ratio=False),
            ],
        ),
        (
            "Restart after `kill -9` of a service",
            [
                Metric("restart/1", "median", Unit.MILLISECONDS),
                Metric("restart/1", "p99", Unit.MILLISECONDS, p99),
                Metric("restart/1", "worst", Unit.MILLISECONDS, max, ratio=False),
                *(
                    Metric(f"restart/among {n}", f"median among {n}", Unit.MILLISECONDS)
                    for n in sizes
                    if n > 1
                ),
            ],
        ),
        (
            "Idle: CPU",
            [Metric(f"idle/cpu/{n}", f"{n} services", Unit.CORE) for n in sizes],
        ),
        (
            "Idle: wake-ups",
            [Metric(f"idle/wakeups/{n}", f"{n} services", Unit.PER_SECOND) for n in sizes],
        ),
        (
            "Memory of all processes of the supervisor (PSS)",
            [
                *(Metric(f"idle/pss/{n}", f"{n} services", Unit.MEBIBYTES) for n in sizes),
                Metric(f"idle/private/{last}", f"{last}, private", Unit.MEBIBYTES, ratio=False),
                Metric(f"idle/processes/{last}", f"{last}, processes", Unit.COUNT, ratio=False),
            ],
        ),
        (
            "`status`, the user's whole command",
            [
                Metric("status/1", "1 service", Unit.MILLISECONDS),
                Metric("status/100", "100 services", Unit.MILLISECONDS),
                Metric("status/storm", "100 in a crash storm", Unit.MILLISECONDS),
                Metric("status/storm", "p99 there", Unit.MILLISECONDS, p99, ratio=False),
                Metric("storm/forks", "forks there", Unit.PER_SECOND, ratio=False),
            ],
        ),
        (
            "Log throughput, until every byte is in the files",
            [
                Metric("logs/rate", "rate", Unit.MEGABYTES_PER_SECOND),
                Metric("logs/cpu", "CPU per 100 MB", Unit.SECONDS),
                Metric("logs/lost", "lost lines", Unit.COUNT, max, ratio=False),
                Metric("logs/doubled", "doubled", Unit.COUNT, max, ratio=False),
                Metric("logs/broken", "broken or misplaced", Unit.COUNT, max, ratio=False),
                Metric("logs/files", "files", Unit.COUNT, ratio=False),
            ],
        ),
    ]


def render(outcome: Outcome, sizes: Sequence[int], ours: str, limit: str, machine: str) -> str:
    """Return the whole report as Markdown."""
    results: Results = outcome.samples
    parts = [f"# Supervisors side by side\n\n{machine}"]
    for title, metrics in sections(sizes):
        found = table(results, metrics, outcome.peers)
        if found:
            parts.append(f"## {title}\n\n{found}")
    if outcome.stops:
        parts.append(f"## Stop of a hostile tree of {HOSTILE_PARTS}\n\n{_stops(outcome.stops)}")
    parts.append(f"## Targets of {ours}\n\n{summary(verdicts(results, ours, limit))}")
    parts.append(f"## Notes\n\n{_notes(outcome)}")
    return "\n\n".join(parts) + "\n"


def _stops(stops: Mapping[str, Stopped]) -> str:
    lines = [["", "stop took, s", "exit", "alive then", "5 s later", "port"]]
    for peer, stopped in stops.items():
        code = "none in time" if stopped.ran.code is None else str(stopped.ran.code)
        lines.append(
            [
                peer,
                show(stopped.ran.seconds, Unit.SECONDS),
                code,
                parts_in_words(stopped.left),
                parts_in_words(stopped.later),
                "free" if stopped.port_free else "held",
            ]
        )
    return markdown(lines)


def parts_in_words(parts: Sequence[str]) -> str:
    """Return which parts of the hostile tree live, the children counted."""
    named = [part for part in parts if not part.startswith("child")]
    children = len(parts) - len(named)
    return ", ".join([*named, *([f"{children} children"] if children else [])]) or "none"


def _notes(outcome: Outcome) -> str:
    lines = ["Cells: the figure, and in brackets how many times the first row's it is."]
    for peer in outcome.peers:
        about = "; ".join(outcome.caveats[peer])
        lines.append(f"{peer} {outcome.versions[peer]}" + (f": {about}" if about else ""))
    lines += [f"{peer} was skipped: {why}" for peer, why in outcome.skipped.items()]
    lines += [f"FAILED {failure}" for failure in outcome.failures]
    lines += [f"left behind {left}" for left in outcome.left]
    loads = ", ".join(f"{load:.1f} before {part}" for part, load in outcome.loads)
    lines.append(f"load of the machine (1 min): {loads}")
    return "\n".join(f"- {line}" for line in lines)
