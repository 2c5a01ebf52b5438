"""The page as it is used: commands, by keyboard, on a phone, and by who hears it."""

import importlib.util
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.chromium import opened
from tests.cli.fleets import down, service
from tests.dashboard.conftest import DEADLINE, NOBODY, REFUSES, Served
from tests.dashboard.viewer import has, text_of, wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from supervisor.control.messages import ServiceStatus


def test_a_command_is_asked_about_first(shown: "Page", served: Served) -> None:
    shown.click("#rows >> text=tts")
    shown.click("#stop")
    assert "api needs it" in text_of(shown, "#confirm-text")
    shown.keyboard.press("Escape")
    assert shown.locator("#confirm").is_hidden()
    shown.click("#restart")
    shown.click("#confirm-no")
    assert served.daemon.commands == []
    shown.click("#restart")
    shown.check("#rolling")
    shown.click("#confirm-yes")
    has(shown, "#progress-title", "healthy after")
    asked = {"services": ["tts"], "rolling": True}
    assert served.daemon.commands == [("/v1/restart", asked)]


def test_what_was_seen_before_a_command_is_no_success_of_it(shown: "Page", served: Served) -> None:
    shown.click("#rows >> text=tts")
    shown.click("#restart")
    served.daemon.entered.clear()
    served.daemon.gate = threading.Event()
    try:
        assert served.daemon.entered.wait(DEADLINE)  # a look is under way, and sees it healthy
        with shown.expect_response("**/api/restart"):
            shown.click("#confirm-yes")
        stopping: ServiceStatus = {**served.daemon.services[0]}
        stopping["state"], stopping["settled"] = "stopping", False
        served.daemon.services[0] = stopping
    finally:
        served.daemon.gate.set()
    has(shown, "#detail-state", "stopping")
    assert text_of(shown, "#progress-title") == "Restarting tts…"
    healthy: ServiceStatus = {**stopping}
    healthy["state"], healthy["settled"] = "healthy", True
    served.daemon.services[0] = healthy
    has(shown, "#progress-title", "healthy after")


def test_a_refused_command_says_why(shown: "Page", served: Served) -> None:
    shown.click("#rows >> text=tts")
    shown.click("#stop")
    served.daemon.trouble = REFUSES
    shown.click("#confirm-yes")
    has(shown, "#progress-title", "not done: two runs of tts cannot both bind its ports")


def test_only_what_makes_sense_can_be_asked_for(shown: "Page") -> None:
    shown.click("#rows >> text=tts")
    wait(shown, "document.all.start.disabled && !document.all.stop.disabled")
    shown.click("#rows >> text=old")
    wait(shown, "!document.all.start.disabled && document.all.stop.disabled")


def test_what_takes_long_can_be_stopped(shown: "Page", served: Served) -> None:
    shown.click("#rows >> text=tts")
    shown.click("#restart")
    served.daemon.services[0]["state"] = "loading"
    served.daemon.services[0]["settled"] = False
    shown.click("#confirm-yes")
    has(shown, "#detail-state", "loading")
    assert text_of(shown, "#progress-title") == "Restarting tts…"
    shown.click("#stop")
    served.daemon.services[0]["goal"] = "down"
    served.daemon.services[0]["state"] = "stopping"
    shown.click("#confirm-yes")
    has(shown, "#detail-state", "stopping")
    assert text_of(shown, "#progress-title") == "Stopping tts…"
    # Somebody else starts it: a stop that will never come is not waited for.
    served.daemon.services[0]["goal"] = "up"
    has(shown, "#progress-title", "started meanwhile: 200 OK")
    verbs = [path.rpartition("/")[2] for path, _ in served.daemon.commands]
    assert verbs == ["restart", "stop"]


def test_it_can_be_used_by_keyboard_alone(shown: "Page", served: Served) -> None:
    shown.locator("#rows a").first.focus()
    shown.keyboard.press("Enter")
    wait(shown, "document.activeElement.id === 'detail-title'")
    for _ in range(3):
        shown.keyboard.press("Tab")
        if shown.evaluate("document.activeElement.id") == "restart":
            break
    assert shown.evaluate("document.activeElement.id") == "restart"
    shown.keyboard.press("Enter")
    wait(shown, "document.activeElement.id === 'confirm-yes'")
    shown.keyboard.press("Enter")
    # Not on a button that is switched off: the place on the page would be lost.
    wait(shown, "document.activeElement.id === 'progress-title'")
    has(shown, "#progress-title", "healthy after")
    assert len(served.daemon.commands) == 1
    shown.locator("#close").focus()
    shown.keyboard.press("Enter")
    wait(shown, "document.activeElement.textContent === 'tts'")


def test_a_service_has_an_address_and_the_way_back_works(shown: "Page") -> None:
    shown.click("#rows >> text=tts")
    wait(shown, "location.hash === '#service=tts'")
    shown.click("#graph a >> nth=1")
    has(shown, "#detail-title", "api")
    shown.go_back()
    has(shown, "#detail-title", "tts")
    shown.go_back()
    shown.locator("#detail").wait_for(state="hidden")


@pytest.mark.parametrize("name", [None, "tts"])
def test_it_fits_a_phone(shown: "Page", name: str | None) -> None:
    shown.set_viewport_size({"width": 360, "height": 720})
    if name is not None:
        shown.click(f"#rows >> text={name}")
        has(shown, "#log", "line 39")
        assert shown.locator("#rows").is_hidden()
    wait(shown, "document.documentElement.scrollWidth <= innerWidth")
    if name is not None:
        shown.click("#close")
        shown.locator("#rows").wait_for()  # once the address has changed


# Assistive technology ----------------------------------------------------------------------------


def test_what_keeps_changing_is_not_read_out_without_end(shown: "Page") -> None:
    said = shown.evaluate(
        """async () => {
          const { Announcer } = await import("/js/announcer.js");
          const place = document.createElement("p");
          const announcer = new Announcer(place);
          const said = [];
          const turn = (name, state, minute) => {
            place.textContent = "";
            announcer.tell([{ name, state, reason: "so" }], 60_000 * minute);
            said.push(place.textContent);
          };
          for (let n = 0; n < 8; n += 1) turn("loop", n % 2 ? "running" : "backoff", 0);
          turn("tts", "backoff", 0);
          turn("loop", "running", 2);
          return said;
        }"""
    )
    told = [f"loop is {state}: so" for state in ("backoff", "running") * 2]
    often = "loop keeps changing; it is not read out until it has been steady for a while"
    assert said == [*told, often, "", "", "", "tts is backoff: so", "loop is running: so"]


def test_what_is_read_out_by_itself_is_short(shown: "Page") -> None:
    # A region whose role is status is read out as a whole at each change in it.
    live = "[role=status], [role=alert], [aria-live]"
    found = shown.locator(live).evaluate_all("all => all.map(e => [e.id, e.children.length])")
    short = ["banner", "announcer", "progress-title", "log-note"]
    assert found == [[name, 0] for name in short]


def _axe() -> Path:
    if named := os.environ.get("AXE_CORE"):
        return Path(named)
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None or found.origin is None:
        pytest.skip("axe is not here: pip install axe-playwright-python, or name it in AXE_CORE")
    return Path(found.origin).with_name("axe.min.js")


@pytest.fixture(params=["light", "dark"])
def looked_at(
    request: pytest.FixtureRequest, shown: "Page", served: Served, chromium: "Browser"
) -> "Iterator[Page]":
    with opened(chromium, color_scheme=request.param) as page:
        page.goto(served.address)
        page.wait_for_selector("#rows tr:nth-child(3)")
        page.evaluate(_axe().read_text(encoding="utf-8"))
        yield page


def _faults(page: "Page") -> list[str]:
    result: Any = page.evaluate("() => axe.run()")
    return [
        f"{each['id']}: {node['html']}: {node['failureSummary']}"
        for each in result["violations"]
        for node in each["nodes"]
    ]


def test_axe_finds_no_fault(looked_at: "Page", served: Served) -> None:
    served.daemon.services[1] = down("api", state="backoff", goal="up", depends_on=["tts"])
    served.daemon.services[2] = service("old", state="unready", notice="another voice speaks")
    has(looked_at, "#rows", "backoff")
    assert _faults(looked_at) == []
    looked_at.click("#rows >> text=tts")
    has(looked_at, "#log", "line 39")
    looked_at.fill("#search", "line 1")
    looked_at.click("#search-go")
    has(looked_at, "#log mark", "line 1")
    assert _faults(looked_at) == []
    looked_at.click("#restart")
    assert _faults(looked_at) == []
    served.daemon.trouble = NOBODY
    has(looked_at, "#banner", "no supervisor runs")
    looked_at.click("#confirm-no")
    assert _faults(looked_at) == []
    looked_at.evaluate("sessionStorage.clear()")
    looked_at.goto(f"http://127.0.0.1:{served.port}/")
    looked_at.locator("#locked").wait_for()
    looked_at.evaluate(_axe().read_text(encoding="utf-8"))
    assert _faults(looked_at) == []
