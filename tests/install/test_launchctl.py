"""The moods of launchctl, one by one, with an agent that does nothing."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from supervisor.install import launchd as renderer
from supervisor.install.launchctl import Launchctl
from supervisor.install.manager import ManagerError, Outcome
from supervisor.install.names import label
from supervisor.install.place import Place
from tests.install.fake_launchd import Launchd
from tests.install.specimens import PLAIN

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a Mac has the real one")


class Agent:
    """An agent of the stand-in, whose file is written."""

    def __init__(self, launchd: Launchd, folder: Path, command: tuple[str, ...]) -> None:
        self.launchd = launchd
        self.waited: list[float] = []
        self.asked: list[str] = []
        item = replace(PLAIN, command=command, log=str(folder / "log"))
        name = label(item.name)
        place = Place(name, str(folder / f"{name}.plist"))
        place.write(renderer.render(item))
        uid = int(launchd.domain.partition("/")[2])
        self.control = Launchctl(place, uid, self._run, self.waited.append)

    def _run(self, argv: Sequence[str]) -> Outcome:
        self.asked.append(argv[1])
        code, out, err = self.launchd.answer(argv)
        return Outcome(code, out + err)


@pytest.fixture
def agent(launchd: Launchd, tmp_path: Path) -> Agent:
    (tmp_path / "home").mkdir()
    return Agent(launchd, tmp_path, ("/bin/sleep", "1000"))


@pytest.mark.parametrize("refusals", [[], [5], [5, 37, 5], [37] * 7])
def test_a_bootstrap_that_fails_for_now_is_tried_again(
    refusals: list[int], agent: Agent, launchd: Launchd
) -> None:
    launchd.refusals = list(refusals)
    agent.control.start()
    assert agent.control.daemon() == launchd.pid() is not None
    assert agent.asked.count("bootstrap") == len(refusals) + 1
    assert agent.waited == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0][: len(refusals)]


@pytest.mark.parametrize(
    ("refusals", "attempts", "words"),
    [
        ([5] * 99, 8, "Bootstrap failed: 5: Input/output error"),
        ([78, 0], 1, "Bootstrap failed: 78: Unknown error"),
    ],
)
def test_a_bootstrap_that_fails_for_good(
    refusals: list[int], attempts: int, words: str, agent: Agent, launchd: Launchd
) -> None:
    launchd.refusals = refusals
    with pytest.raises(ManagerError, match=words):
        agent.control.start()
    assert (agent.asked.count("bootstrap"), launchd.is_loaded()) == (attempts, False)


def test_started_is_started(agent: Agent, launchd: Launchd) -> None:
    agent.control.start()
    pid = agent.control.daemon()
    agent.control.start()
    assert (agent.control.daemon(), agent.asked.count("bootstrap")) == (pid, 1)
    assert "kickstart" not in agent.asked


def test_one_that_has_ended_is_kicked(launchd: Launchd, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    agent = Agent(launchd, tmp_path, ("/bin/sh", "-c", "echo once >> $0", str(tmp_path / "runs")))
    agent.control.start()
    (job,) = launchd.jobs()
    assert job.over.wait(20)
    assert agent.control.daemon() is None
    agent.control.start()
    (job,) = launchd.jobs()
    assert job.over.wait(20)
    assert (tmp_path / "runs").read_text() == "once\nonce\n"
    assert (agent.asked.count("bootstrap"), agent.asked.count("kickstart")) == (1, 1)


@pytest.mark.parametrize("looks", [0, 1, 6])
def test_booted_out_is_gone_when_cancel_returns(looks: int, agent: Agent, launchd: Launchd) -> None:
    launchd.leaves_after = looks
    agent.control.cancel()
    assert agent.asked == ["print"]  # there was nothing to cancel
    agent.control.start()
    agent.control.cancel()
    assert not launchd.is_loaded()
    agent.control.start()  # the file says 5 until the old one is gone
    assert agent.control.daemon() is not None


def test_one_that_was_on_its_way_out_is_loaded_anew(agent: Agent, launchd: Launchd) -> None:
    launchd.leaves_after = 6
    agent.control.start()
    launchd.answer(["launchctl", "bootout", f"{launchd.domain}/{agent.control.place.name}"])
    agent.control.start()
    assert agent.control.daemon() == launchd.pid() is not None
    assert "kickstart" in agent.asked


def test_one_that_does_not_go(agent: Agent, launchd: Launchd) -> None:
    launchd.leaves_after = 99
    agent.control.start()
    with pytest.raises(ManagerError, match="launchctl bootout gui/"):
        agent.control.cancel()


def test_what_is_in_the_way(agent: Agent, launchd: Launchd) -> None:
    assert agent.control.obstacle() is None
    launchd.disabled.add(agent.control.place.name)
    assert "is switched off: turn it on in System Settings" in (agent.control.obstacle() or "")
    agent.control.enable()
    assert agent.control.obstacle() is None
    launchd.logged_in = False
    assert "nobody is logged in at the screen" in (agent.control.obstacle() or "")
    missing = replace(agent.control, run=lambda _: Outcome(None, ""))
    assert missing.obstacle() == "launchctl: it is not there, or does not answer"
    assert missing.daemon() is None
