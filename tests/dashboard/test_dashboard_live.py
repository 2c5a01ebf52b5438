"""The page of a real system: what the issue of the dashboard promises, in a real browser."""

import os
import signal
from typing import TYPE_CHECKING

from tests.dashboard.systems import Running
from tests.dashboard.viewer import has, text_of, wait

if TYPE_CHECKING:
    from playwright.sync_api import Page

BACKOFF = """[
    ["#detail-state", "backoff"],
    ["#detail-reason", "was killed by signal 9 (SIGKILL); restart 1 in"],
    ["#rows tr:first-child", "was killed by signal 9 (SIGKILL)"],
].every(([place, text]) => document.querySelector(place).innerText.includes(text))"""


def test_a_kill_is_seen_with_its_reason_backoff_and_recovery(
    running: Running, page: "Page"
) -> None:
    page.goto(running.address)
    page.click("#rows >> text=tts")
    has(page, "#log", "<b>hello</b>")
    has(page, "#why", "tts is running since ")
    pid = running.service("tts")["pid"]
    os.kill(pid, signal.SIGKILL)
    # All in one look: it lasts no longer than the backoff does.
    wait(page, BACKOFF)
    has(page, "#detail-state", "running")
    has(page, "#facts", "was killed by signal 9 (SIGKILL)")
    has(page, "#own-events", "run 2 started")
    topics = page.locator("#own-events li strong").all_inner_texts()
    assert topics[:3] == ["started", "restarting", "exited"]
    has(page, "#why", "was killed from outside by SIGKILL")
    # The log of the run that died is still there, and that of the next one follows.
    has(page, "#log", "run 2 begins")


def test_stop_start_and_restart_work_from_the_page(running: Running, page: "Page") -> None:
    page.goto(running.address)
    page.click("#rows >> text=tts")
    pid = running.until("it runs", "tts", lambda s: s["state"] == "running")["pid"]
    page.click("#restart")
    page.click("#confirm-yes")
    has(page, "#progress-title", "running after")
    assert running.service("tts")["pid"] not in (None, pid)
    steps = page.locator("#progress-steps strong").all_inner_texts()
    assert steps == ["stopping", "exited", "started"]
    page.click("#stop")
    page.click("#confirm-yes")
    has(page, "#progress-title", "stopped after")
    assert running.service("tts")["state"] == "stopped"
    page.click("#start")
    page.click("#confirm-yes")
    has(page, "#progress-title", "running after")
    assert running.service("tts")["state"] == "running"
    assert text_of(page, "#detail-state") == "running"


def test_the_dashboard_restarts_itself_and_the_page_goes_on(running: Running, page: "Page") -> None:
    page.goto(running.address)
    page.click("#rows >> text=page")
    page.click("#restart")
    has(page, "#confirm-text", "It serves this page")
    page.click("#confirm-yes")
    has(page, "#own-events", "run 2 started")
    has(page, "#detail-state", "healthy")
    page.locator("#banner").wait_for(state="hidden")


def test_it_outlives_a_supervisor_that_is_killed(running: Running, page: "Page") -> None:
    page.goto(running.address)
    has(page, "#rows", "tts")
    running.system.kill_daemon()
    has(page, "#banner", "no supervisor runs")
    running.system.ctl("up")
    page.locator("#banner").wait_for(state="hidden")
    has(page, "#events", "daemon-started")
