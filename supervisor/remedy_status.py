"""The rules of services and what came of them, as clients see it: pure, secrets masked."""

from supervisor.control.messages import RemedyStatus, TreatedService
from supervisor.core import remedy_words
from supervisor.core.remedy import Chart, Use, mark
from supervisor.core.spec import Remedy, ServiceSpec
from supervisor.ledger import Record


def treated_service(spec: ServiceSpec, chart: Chart, now: float) -> TreatedService:
    """Return the rules of one service; `now` is on the clock of the chart's times."""
    return {
        "service": spec.name,
        "rules": [_rule(rule, chart, now) for rule in spec.remedies],
        "pending": chart.in_force != chart.of_run,
    }


def chart_of(record: Record | None, spec: ServiceSpec, boot: str) -> Chart:
    """Return what remedies have done to a service; what they rest on may have been edited since."""
    if record is None:
        return Chart()
    uses = tuple(Use(rule, times) for rule, times in record.uses.items())
    if record.boot != boot:
        uses = ()  # their times are on the clock of another boot
    chart = Chart(record.in_force, record.of_run, uses)
    if record.rests_on not in (0, mark(spec, chart)):
        return Chart(uses=uses)
    return chart


def _rule(rule: Remedy, chart: Chart, now: float) -> RemedyStatus:
    times = [at for at in chart.use(rule.name).times if now - at < rule.limit.within]
    return {
        "name": rule.name,
        "when": remedy_words.trigger(rule),
        "do": remedy_words.deeds(rule),
        "limit": remedy_words.limit(rule),
        "dry_run": rule.dry_run,
        "uses": len(times),
        "age": max(0.0, now - times[-1]) if times else None,
        "used_up": len(times) >= rule.limit.times,
        "in_force": rule.name in chart.in_force,
    }
