"""Whether those who are to be told can be, and the figures be written."""

from collections.abc import Iterator, Mapping

from supervisor.cli.findings import OURS, Finding
from supervisor.cli.wording import count
from supervisor.core.spec import FleetSpec
from supervisor.notify.check import check

CHECK = "notifications"


def notifications(fleet: FleetSpec, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what is wrong with `notify:` and `metrics:`, so far as can be told without a try."""
    troubles = list(
        check(
            fleet.notify,
            fleet.metrics,
            state_dir=fleet.state_dir,
            root=fleet.root,
            environ=environ,
        )
    )
    for trouble in troubles:
        what = trouble.target or "the file of metrics"
        # Services run all the same.
        yield Finding(OURS, CHECK, "note", f"{what}: {trouble.text}", trouble.hint)
    if fleet.notify and not troubles:
        text = f"{count(len(fleet.notify), 'target')}; to try: atlasctl notify --test"
        yield Finding(OURS, CHECK, "ok", text)
