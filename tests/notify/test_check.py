"""What `doctor` and `atlasctl notify` see without sending anything."""

import sys
from pathlib import Path

import pytest

from supervisor.cli.arguments import read
from supervisor.cli.checks.notifications import notifications
from supervisor.cli.findings import Finding
from supervisor.core.notify import Desktop, Hook, MetricsFile, Target, Webhook
from supervisor.core.spec import FleetSpec
from supervisor.notify.errand import Memory, Remembered, remember

WEBHOOK = Target("phone", Webhook("https://h/hunter2"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir(mode=0o700)
    return tmp_path


def found(root: Path, *targets: Target, metrics: str | None = None) -> list[Finding]:
    fleet = FleetSpec(
        "", str(root), str(root / "state"), "", notify=targets,
        metrics=None if metrics is None else MetricsFile(metrics),
    )  # fmt: skip
    return list(notifications(fleet, {"PATH": str(root / "bin")}))


def test_nobody_to_tell_is_no_finding(root: Path) -> None:
    assert found(root) == []


def test_all_well(root: Path) -> None:
    (finding,) = found(root, WEBHOOK, metrics=f"{root}/a.prom")
    assert finding.level == "ok"
    assert finding.text.startswith("1 target")


def test_no_way_to_the_screen_is_noted(root: Path) -> None:
    (finding,) = found(root, Target("desktop", Desktop()))
    assert finding.level == "note"
    assert ("osascript" if sys.platform == "darwin" else "notify-send") in finding.text
    assert finding.hint


def test_a_command_is_looked_for_where_it_will_be_run(root: Path) -> None:
    target = Target("hook", Hook(("./hook.sh",)))
    (finding,) = found(root, target)
    assert (finding.level, "hook.sh" in finding.text) == ("note", True)
    (root / "hook.sh").write_text("#!/bin/sh\n")
    (root / "hook.sh").chmod(0o755)
    assert [one.level for one in found(root, target)] == ["ok"]


def test_the_last_try_is_told(root: Path) -> None:
    known = Remembered(last_words="h answered 401", last_at=1.0, last_ok=False)
    remember(str(root / "state"), Memory(1, {"phone": known}))
    (finding,) = found(root, WEBHOOK)
    assert finding.text == "phone: the last try failed: h answered 401"
    assert finding.hint == "atlasctl notify --test phone"


def test_a_folder_that_is_not_there(root: Path) -> None:
    (finding,) = found(root, metrics=f"{root}/no/a.prom")
    assert finding.text == f"the file of metrics: there is no folder {root}/no"


def test_what_remembers_nonsense_is_passed_over(root: Path) -> None:
    (root / "state" / "courier.json").write_text("{}")
    assert [one.level for one in found(root, WEBHOOK)] == ["ok"]


def test_how_it_is_asked() -> None:
    call = read(["notify", "--test", "phone", "phone"], {})
    assert (call.run, call.test, call.targets) == ("notify:notify", True, ("phone",))
    assert not read(["notify"], {}).test
    assert read(["metrics", "--json"], {}).json
