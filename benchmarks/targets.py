"""What atlasctl is to reach, and whether it did. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from benchmarks.figures import Results, Unit, median, p99, show


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target: reached, missed, or (None) not measured."""

    target: str
    passed: bool | None
    figures: str

    def line(self) -> str:
        """Return it as a line of Markdown."""
        word = {True: "pass", False: "**FAIL**", None: "not measured"}[self.passed]
        return f"- {word}: {self.target}" + (f" — {self.figures}" if self.figures else "")


def verdicts(results: Results, ours: str, limit: str) -> list[Verdict]:
    """Judge the peer called `ours`; `limit` is the bare loop, which is no rival."""

    def bound(
        target: str,
        key: str,
        reduce: Callable[[list[float]], float],
        unit: Unit,
        most: float,
        offset: float = 0.0,
    ) -> Verdict:
        found = list(results.get(key, {}).get(ours, ()))
        if not found:
            return Verdict(target, None, "")
        value = reduce(found) - offset
        return Verdict(target, value < most, f"{show(value, unit)} {unit.value}")

    ms, mib = Unit.MILLISECONDS, Unit.MEBIBYTES
    return [
        _best(results, "restart/1", ours, limit, "median restart latency below every peer's", ms),
        _twice(results, ours, limit),
        bound("p99 restart latency < 25 ms", "restart/1", p99, ms, 0.025),
        bound("idle with 500 services < 0.2 % of a core", "idle/cpu/500", median, Unit.CORE, 0.002),
        bound("memory with 500 services < 45 MB PSS", "idle/pss/500", median, mib, 45 * 2**20),
        bound("memory with one service < 35 MB PSS", "idle/pss/1", median, mib, 35 * 2**20),
        bound("`status` < 100 ms with 100 services", "status/100", median, ms, 0.1),
        bound("`status` < 150 ms in a crash storm of 100", "status/storm", median, ms, 0.15),
        _best(
            results,
            "logs/rate",
            ours,
            limit,
            "log throughput above the best peer's",
            Unit.MEGABYTES_PER_SECOND,
        ),
        _nothing_lost(results, ours),
    ]


def _best(results: Results, key: str, ours: str, limit: str, target: str, unit: Unit) -> Verdict:
    """Compare medians with every rival: a rate must be above, a time below."""
    found = {peer: median(values) for peer, values in results.get(key, {}).items() if values}
    rivals = {p: v for p, v in found.items() if p != limit and not p.startswith(ours)}
    if ours not in found or not rivals:
        return Verdict(target, None, "")
    rate = unit is Unit.MEGABYTES_PER_SECOND
    best = (max if rate else min)(rivals, key=rivals.__getitem__)
    passed = found[ours] > rivals[best] if rate else found[ours] < rivals[best]
    words = f"{show(found[ours], unit)} {unit.value}, {best} {show(rivals[best], unit)}"
    return Verdict(target, passed, words)


def _twice(results: Results, ours: str, limit: str) -> Verdict:
    target = "median restart latency near 2 × the bare loop's (at most 2.5 ×)"
    samples = results.get("restart/1", {})
    if not samples.get(ours) or not samples.get(limit):
        return Verdict(target, None, "")
    times = median(samples[ours]) / median(samples[limit])
    return Verdict(target, times <= 2.5, f"{times:.2f} ×")


def _nothing_lost(results: Results, ours: str) -> Verdict:
    target = "no line lost, doubled or broken"
    keys = ("logs/lost", "logs/doubled", "logs/broken")
    found = [v for key in keys for v in results.get(key, {}).get(ours, ())]
    if not found:
        return Verdict(target, None, "")
    return Verdict(target, not any(found), f"{sum(found):g} lines")


def summary(found: Iterable[Verdict]) -> str:
    """Return all as Markdown."""
    return "\n".join(verdict.line() for verdict in found)
