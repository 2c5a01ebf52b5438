"""The page in a real browser: what a person sees and does, over a daemon that a test writes down.

How it is used is in test_dashboard_use.py, and what takes a real system in test_dashboard_live.py.
"""

import json
import time
from typing import TYPE_CHECKING

from supervisor.cli.services import AILING, GOOD
from supervisor.journal import NAME
from tests.cli.fleets import chronicle, down, service
from tests.dashboard.conftest import DEADLINE, EVIL, NOBODY, Served
from tests.dashboard.viewer import has, states, text_of, wait

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

AT_END = "(b => b.scrollHeight - b.scrollTop - b.clientHeight < 5)(document.all.log)"


def test_services_are_listed_and_change_in_place(shown: "Page", served: Served) -> None:
    assert shown.url == f"http://127.0.0.1:{served.port}/"
    assert states(shown) == ["healthy", "healthy", "stopped"]
    assert text_of(shown, "#summary") == "1 stopped, 2 healthy"
    assert "supervisor 0.1.0, pid 41" in text_of(shown, "#supervisor")
    heads = shown.get_by_role("table", name="Services").get_by_role("rowheader")
    # With each cell of a row its head is read out: the name, and not all that is said of it.
    assert heads.evaluate_all("all => all.map(head => head.abbr)") == ["tts", "api", "old"]
    shown.evaluate("document.querySelector('#rows tr').mark = 'the same'")
    reason = "exited with code 1; restart 1 in 4 s"
    served.daemon.services[0] = down("tts", state="backoff", goal="up", reason=reason)
    has(shown, "#rows tr:first-child", reason)
    assert states(shown)[0] == "backoff"
    assert shown.evaluate("document.querySelector('#rows tr').mark") == "the same"
    assert "tts is backoff" in (shown.locator("#announcer").text_content() or "")


def test_a_state_looks_as_it_is(shown: "Page", served: Served) -> None:
    kinds = {"blocked": "busy", "loading": "busy", "stopped": "calm"}
    kinds |= dict.fromkeys(GOOD, "good") | dict.fromkeys([*AILING, "failed", "backoff"], "bad")
    served.daemon.services = [service(state, state=state) for state in kinds]
    has(shown, f"#rows tr:nth-child({len(kinds)})", list(kinds)[-1])
    seen = shown.locator("#rows .state").evaluate_all("all => all.map(s => s.dataset.kind)")
    assert dict(zip(states(shown), seen, strict=True)) == kinds
    # What is wrong is named first.
    ailing = text_of(shown, "#summary").split(", ")
    assert {each.split()[1] for each in ailing[:3]} <= {*AILING, "failed", "backoff"}


def test_services_come_and_go(shown: "Page", served: Served) -> None:
    new = service("new", log="/nowhere/new.log")
    served.daemon.services = [new, *served.daemon.services[:2]]
    has(shown, "#rows tr:first-child", "new")
    assert shown.locator("#rows a").all_inner_texts() == ["new", "tts", "api"]


def test_services_are_found_by_name_and_state(shown: "Page") -> None:
    shown.fill("#filter", "AP")
    assert shown.locator("#rows tr:visible a").all_inner_texts() == ["api"]
    shown.fill("#filter", "nothing of the kind")
    assert shown.locator("#nothing").is_visible()
    shown.fill("#filter", "")
    shown.check("#unwell")
    assert shown.locator("#rows tr:visible").count() == 0


def test_one_service_in_full(shown: "Page", served: Served) -> None:
    served.daemon.services[0]["notice"] = "eSpeak NG speaks; see atlasctl doctor"
    shown.click("#rows >> text=tts")
    has(shown, "#log", "line 39")
    facts = text_of(shown, "#facts")
    assert "3001" in facts
    assert "1, pid 4321, 1 process" in facts
    assert shown.locator("#facts a").all_inner_texts() == ["api"]
    has(shown, "#detail-notice", "eSpeak NG speaks")
    wait(shown, "document.querySelector('#chart-latency path').getAttribute('d') !== ''")
    has(shown, "#chart-latency", "Probe: 3.4 ms")
    has(shown, "#chart-cpu", "CPU: 1.3 %")
    has(shown, "#chart-memory", "Memory: 212 MiB")
    assert shown.locator("#own-events li").all_inner_texts()[0].endswith("200 OK")
    assert shown.locator("#events li").count() == 3
    shown.click("#close")
    wait(shown, "document.getElementById('detail').hidden")  # once the address has changed
    assert shown.locator("#detail").is_hidden()


def test_what_services_print_is_text(shown: "Page", served: Served) -> None:
    evil = service("tts", description=EVIL, reason=EVIL, notice=EVIL, last_exit=EVIL)
    served.daemon.services[0] = {**evil, "log": served.daemon.services[0]["log"]}
    event = chronicle((1.8e9 + 3, "tts", EVIL, EVIL, 1), first=4)[0]
    with (served.root / ".atlas" / NAME).open("a") as file:
        file.write(json.dumps(event.message()) + "\n")
    served.daemon.journal_seq = 4
    shown.click("#rows >> text=tts")
    has(shown, "#log", "<script>")
    has(shown, "#events", "<script>")
    has(shown, "#own-events", "<script>")
    has(shown, "#detail-description", "<script>")
    shown.fill("#search", "<img")
    shown.click("#search-go")
    has(shown, "#log mark", "<img")
    assert shown.locator("script").count() == 1
    assert shown.locator("img").count() == 0
    assert shown.title() == "atlasctl"


def test_the_log_is_followed_and_searched(shown: "Page", served: Served) -> None:
    shown.click("#rows >> text=tts")
    has(shown, "#log", "line 39")
    log = served.root / "tts.log"
    with log.open("a") as file:
        file.writelines(f"more {n}\n" for n in range(60))
    has(shown, "#log", "more 59")
    wait(shown, AT_END)
    shown.fill("#search", "LINE 1")
    shown.press("#search", "Enter")
    has(shown, "#log-note", "11 of the last 101 lines match")
    assert shown.locator("#log > div").count() == 11
    assert shown.locator("#log mark").first.inner_text() == "line 1"
    with log.open("a") as file:
        file.write("after the search\n")
    shown.click("#search-end")
    has(shown, "#log", "after the search")
    # Who goes up to read stays there.
    shown.uncheck("#follow")
    shown.evaluate("document.all.log.scrollTop = 0")
    with log.open("a") as file:
        file.write("unseen\n")
    has(shown, "#log", "unseen")
    assert shown.evaluate("document.all.log.scrollTop") == 0


def test_who_scrolls_up_in_the_log_stays_there(shown: "Page", served: Served) -> None:
    shown.click("#rows >> text=tts")
    has(shown, "#log", "line 39")
    wait(shown, AT_END)
    # As a finger, a wheel, a key or a scroll bar does.
    shown.evaluate("document.all.log.scrollTop -= 100")
    wait(shown, "!document.all.follow.checked")
    place = shown.evaluate("document.all.log.scrollTop")
    log = served.root / "tts.log"
    with log.open("a") as file:
        file.write("one more\n")
    has(shown, "#log", "one more")
    # More than the page keeps: then it waits, and what is read stays.
    with log.open("a") as file:
        file.writelines(f"much {n}\n" for n in range(990))
    has(shown, "#log-note", "newer lines wait")
    assert shown.evaluate("document.all.log.scrollTop") == place
    has(shown, "#log", "line 0")
    shown.evaluate("document.all.log.scrollTop = document.all.log.scrollHeight")
    wait(shown, "document.all.follow.checked")
    has(shown, "#log", "much 989")
    wait(shown, AT_END)
    assert text_of(shown, "#log-note") == ""
    assert shown.locator("#log > div").count() == 1000


def test_a_service_that_there_is_not_has_nothing_of_another(shown: "Page") -> None:
    shown.click("#rows >> text=tts")
    has(shown, "#facts", "pid 4321")
    shown.evaluate("location.hash = '#service=nobody'")
    has(shown, "#detail-reason", "No service has this name.")
    assert text_of(shown, "#detail-description") + text_of(shown, "#facts") == ""
    assert shown.locator("#detail button:enabled:visible").all_inner_texts() == [
        "Ask again",
        "Search",
    ]


def test_a_story_that_failed_or_is_of_another_dashboard_is_told_anew(
    shown: "Page", served: Served
) -> None:
    stories = ["killed with the dashboard", "told at first", "told anew"]

    def tell(route: "Route") -> None:
        if len(stories) == 3:
            route.fulfill(status=503, json={"error": stories.pop(0)})
        else:
            route.fulfill(json={"text": stories.pop(0) if len(stories) > 1 else stories[0]})

    shown.route("**/api/why*", tell)
    # Time passes quickly for the page, which asks for a story every few seconds at most.
    shown.evaluate("(now => { performance.now = () => 50 * now() })(() => Date.now())")
    shown.click("#rows >> text=tts")
    has(shown, "#why", "told at first")
    served.watch.epoch = "of another"
    has(shown, "#why", "told anew")


def test_a_dashboard_that_does_not_answer_is_said(shown: "Page") -> None:
    shown.route("**/api/state*", lambda route: route.abort())
    has(shown, "#banner", "the dashboard does not answer. What is shown is the last")
    assert shown.locator(".away #rows").count() == 1
    assert text_of(shown, "#supervisor") == ""
    shown.unroute("**/api/state*")
    shown.locator("#banner").wait_for(state="hidden")
    assert shown.locator(".away").count() == 0
    has(shown, "#supervisor", "pid 41")


def test_a_page_with_a_fault_says_so_and_goes_on(served: Served, chromium: "Browser") -> None:
    # As one that is older than the dashboard that answers it.
    served.daemon.services = [service("tts")]
    context = chromium.new_context()
    try:
        page = context.new_page()
        page.route("**/api/state*", lambda route: route.fulfill(json={"services": "many"}))
        with page.expect_event("pageerror"):
            page.goto(served.address)
        has(page, "#banner", "this page has a fault")
        has(page, "#banner", "reload it")
        page.unroute("**/api/state*")
        page.wait_for_selector("#rows tr")
        page.locator("#banner").wait_for(state="hidden")
    finally:
        context.close()


def test_a_supervisor_that_is_gone_is_said_and_what_was_known_stays(
    shown: "Page", served: Served
) -> None:
    served.daemon.trouble = NOBODY
    has(shown, "#banner", "no supervisor runs")
    assert states(shown) == ["healthy", "healthy", "stopped"]
    served.daemon.trouble = None
    shown.locator("#banner").wait_for(state="hidden")


def test_the_token_is_taken_out_of_the_address_and_kept(shown: "Page", served: Served) -> None:
    assert served.token not in shown.url
    assert served.token not in shown.content()
    shown.reload()
    shown.wait_for_selector("#rows tr")
    # Nothing is in a cookie, which other ports of this machine would be sent.
    assert shown.context.cookies() == []


def test_without_the_token_nothing_is_shown(served: Served, page: "Page") -> None:
    served.daemon.services = [service("tts")]
    page.goto(f"http://127.0.0.1:{served.port}/")
    page.locator("#locked").wait_for()
    assert page.locator("#content").is_hidden()
    page.goto(f"http://127.0.0.1:{served.port}/#token={'x' * 43}")
    has(page, "#locked-reason", "not, or no longer, the right one")
    # The command opens it once more.
    page.goto(served.address)
    page.wait_for_selector("#rows tr")
    assert page.locator("#locked").is_hidden()


def test_the_graph_has_what_needs_what(shown: "Page", served: Served) -> None:
    titles = shown.locator("#graph title").all_text_contents()
    assert titles == ["tts: healthy", "api: healthy, needs tts"]
    assert shown.locator("#graph .edge").count() == 1
    boxes = [
        float(x or 0)
        for x in (shown.locator("#graph rect").nth(n).get_attribute("x") for n in range(2))
    ]
    assert boxes[0] < boxes[1]
    served.daemon.services = served.daemon.services[:1]
    has(shown, "#graph", "No service needs another")


def test_a_hidden_page_asks_for_nothing(served: Served, page: "Page") -> None:
    served.daemon.services = [service("tts", log="/nowhere/tts.log")]
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.install()
    page.goto(served.address)
    page.wait_for_selector("#rows tr")

    def pass_until(times: int) -> None:
        """Let its time pass until it has asked so often; the answers take time of the machine."""
        deadline = time.monotonic() + DEADLINE
        while len(asked) < times:
            assert time.monotonic() < deadline, asked
            page.clock.run_for(1000)

    asked.clear()
    pass_until(3)
    page.evaluate(
        "Object.defineProperty(document, 'hidden', {configurable: true, get: () => true})"
    )
    page.clock.run_for(10_000)  # what was under way
    asked.clear()
    for _ in range(60):
        page.clock.run_for(1000)
    assert asked == []
    page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    pass_until(1)


def test_two_hundred_services_are_kept_up_to_date(served: Served, page: "Page") -> None:
    def fleet(cpu: float) -> None:
        served.daemon.services = [
            service(
                f"service-{n}",
                cpu=cpu + n,
                depends_on=[f"service-{n - 1}"] if n % 10 else [],
                log="/nowhere/x.log",
            )
            for n in range(200)
        ]

    fleet(1.0)
    page.goto(served.address)
    page.wait_for_selector("#rows tr:nth-child(200)")
    page.evaluate("for (const row of document.querySelectorAll('#rows tr')) row.mark = 1")
    fleet(2.0)
    has(page, "#rows tr:last-child", "201.0 %")
    assert page.evaluate("[...document.querySelectorAll('#rows tr')].every((r) => r.mark === 1)")
    assert page.locator("#graph a").count() == 200
