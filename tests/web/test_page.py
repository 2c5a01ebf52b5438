"""The page as a person uses it: in a real browser, with the real service or one that is steered."""

from __future__ import annotations

import io
import json
import shlex
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
import soundfile

from services.tts import text
from tests.browser.chromium import CLICK_FIRST, DEADLINE, launched, opened
from tests.tts.doubles import FakeEngine, tone, until
from tests.tts.processes import ServerProcess, say
from tests.web.conftest import LISTEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Page, Playwright

    from tests.tts.conftest import Harness

HEARD = "Прозвучало до кінця."
LOOKS = 2000
"""Milliseconds between two looks of the page at the server."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    process = ServerProcess("--port", "0")
    try:
        yield process.wait_until_ready()
    finally:
        process.close()


def shows(page: Page, selector: str, part: str) -> None:
    """Waits until an element has this text in it."""
    from playwright.sync_api import expect

    expect(page.locator(selector)).to_contain_text(part, timeout=DEADLINE * 1000)


def sounds(page: Page) -> None:
    """Waits until it is heard, and no longer: `expect` looks once a second, and a word is short."""
    page.wait_for_function(
        "() => document.getElementById('state').textContent.includes('Звучить.')"
    )


def is_empty(page: Page, selector: str) -> None:
    from playwright.sync_api import expect

    expect(page.locator(selector)).to_have_text("", timeout=DEADLINE * 1000)


def heard(page: Page) -> float:
    """Seconds that were played to their end."""
    return float(page.evaluate("window.heard.reduce((sum, one) => sum + one, 0)"))


def told(page: Page) -> list[str]:
    """Every state that the page has shown."""
    return [str(one) for one in page.evaluate("window.told") if one]


def focused(page: Page) -> str:
    """The id of what has the keyboard."""
    return str(page.evaluate("document.activeElement.id"))


def speak(page: Page, typed: str) -> None:
    page.fill("#text", typed)
    page.click("#speak")


def downloaded(page: Page) -> bytes:
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename.endswith(".wav")
    return Path(download.value.path()).read_bytes()


def test_what_is_typed_is_heard_to_its_end(page: Page, url: str) -> None:
    page.goto(url)
    shows(page, "#health", "Готовий · голос: eSpeak NG, cpu")
    speak(page, "Раз. Два. Три.")
    shows(page, "#state", HEARD)
    is_empty(page, "#error")
    file = downloaded(page)
    samples, rate = soundfile.read(io.BytesIO(file))
    assert heard(page) == pytest.approx(len(samples) / rate, abs=0.001)
    # eSpeak NG never says a thing twice in exactly the same way.
    whole = say(url, "Раз. Два. Три.", return_audio=False).json()["audio_duration"]
    assert heard(page) == pytest.approx(whole, rel=0.05)


def test_emoji_and_markdown_are_not_read_out(page: Page, serve: Callable[..., Harness]) -> None:
    engine = FakeEngine()
    engine.answer = lambda _: tone(0.05, 200.0)
    page.goto(serve(engine, normalise=text.spoken).url)
    page.fill("#text", "# **Привіт**, 😀 [світе](https://example.com)! 🎉\n\n- `так`")
    shows(page, "#reading", "приві\u0301т, сві\u0301те! так")
    page.click("#speak")
    shows(page, "#state", HEARD)
    assert [said.replace("+", "") for said in engine.spoken] == ["привіт, світе!", "так"]


def test_how_a_text_will_be_read_is_shown_as_it_is_typed(page: Page, url: str) -> None:
    page.goto(url)
    shows(page, "#reading", "Тут буде текст")
    page.fill("#text", "О 14:30 — 5 кг.")
    shows(page, "#reading", "кілогра\u0301мів")
    assert "+" not in page.inner_text("#reading")
    page.fill("#text", "😀")
    shows(page, "#reading", "nothing that can be spoken")
    page.fill("#text", "")
    shows(page, "#reading", "Тут буде текст")
    page.fill("#text", "О 14:30.")
    shows(page, "#reading", "чотирна")
    page.route("**/text", lambda route: route.abort())
    page.fill("#text", "О 15:30.")
    is_empty(page, "#reading")


def test_voice_speed_and_effect_are_asked_for_and_kept(page: Page, url: str) -> None:
    page.goto(url)
    page.click("label:has-text('Лада')")
    page.fill("#speed", "1.5")
    page.select_option("#fx", "robot")
    with page.expect_request("**/tts") as request:
        speak(page, "так")
    assert request.value.post_data_json == {
        "text": "так",
        "voice": "lada",
        "speed": 1.5,
        "fx": "robot",
        "return_audio": True,
        "stream": True,
    }
    shows(page, "#state", HEARD)
    page.reload()
    shows(page, "#history li", "Лада · 1,5 × · робот")
    assert page.locator("input[value=lada]").is_checked()
    assert (page.input_value("#text"), page.input_value("#fx")) == ("так", "robot")
    with page.expect_request("**/tts") as again:
        page.click("#history button")
    assert again.value.post_data == request.value.post_data
    shows(page, "#state", HEARD)
    page.click("#clear")
    assert page.locator("#history li").count() == 0


def test_a_voice_gives_a_sample(page: Page, url: str) -> None:
    page.goto(url)
    with page.expect_request("**/tts") as request:
        page.get_by_label("Послухати: Тетяна").click()
    asked = request.value.post_data_json or {}
    assert (asked["voice"], asked["text"]) == ("tetiana", "Добрий день! Мене звати Тетяна.")
    sounds(page)
    page.keyboard.press("Escape")
    is_empty(page, "#state")
    assert page.locator("input[value=dmytro]").is_checked()
    assert page.locator("#history li").count() == 0


def test_keys_speak_and_stop(page: Page, url: str) -> None:
    page.goto(url)
    page.fill("#text", "Дуже довга розповідь про все на світі. " * 20)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.keyboard.down("Control")
    page.keyboard.down("Enter")
    page.keyboard.down("Enter")  # held down
    page.keyboard.up("Enter")
    page.keyboard.up("Control")
    sounds(page)
    assert asked.count(f"{url}/tts") == 1
    page.press("#text", "Escape")
    is_empty(page, "#state")
    assert page.is_disabled("#stop")
    assert heard(page) == 0
    page.keyboard.press("Control+Enter")
    sounds(page)
    page.focus("#stop")
    page.keyboard.press("Enter")
    is_empty(page, "#state")
    assert focused(page) == "speak"
    page.focus("#clear")
    page.keyboard.press("Enter")
    assert focused(page) == "text"


def test_the_curl_command_says_the_same(page: Page, url: str) -> None:
    page.goto(url)
    typed = 'Пам\'ять "так"\n$HOME `ls` \\ кінець'
    page.fill("#text", typed)
    page.click("summary")
    page.click("#copy")
    shows(page, "#copied", "Скопійовано.")
    words = shlex.split(page.evaluate("navigator.clipboard.readText()"))
    assert words[0] == "curl"
    assert words[2] == f"{url}/tts"
    body = words[words.index("-d") + 1]
    assert json.loads(body)["text"] == typed
    answer = requests.post(words[2], data=body.encode(), timeout=DEADLINE)
    assert answer.headers["Content-Type"] == "audio/wav"


def test_english_is_a_click_away_and_stays(page: Page, url: str) -> None:
    page.goto(url)
    shows(page, "h1", "Українське мовлення")
    page.click("#language")
    shows(page, "h1", "Ukrainian speech")
    shows(page, "#health", "Ready")
    page.reload()
    shows(page, "h1", "Ukrainian speech")
    assert page.get_attribute("html", "lang") == "en"


def test_the_smallest_phone_shows_it_whole(page: Page, url: str) -> None:
    page.set_viewport_size({"width": 320, "height": 640})
    page.goto(url)
    shows(page, "#health", "Готовий")
    page.fill("#text", "Рентгеноелектрокардіографічного" * 3)
    page.click("summary")
    for _ in range(2):
        assert page.evaluate("document.documentElement.scrollWidth") == 320
        page.click("#language")


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ({"status": 200, "json": {"status": "success"}}, "прислав не звук: application/json"),
        ({"status": 500, "json": {"error": "no kernel"}}, "відмовив (500): no kernel."),
        ({"status": 200, "body": "<h1>!</h1>" * 9, "content_type": "audio/wav"}, "не звук"),
    ],
    ids=["JSON in place of audio", "an error", "HTML that says it is audio"],
)
def test_what_is_no_audio_is_shown_and_never_played(
    page: Page, url: str, reply: dict[str, Any], error: str
) -> None:
    page.goto(url)
    page.route("**/tts", lambda route: route.fulfill(**reply))
    speak(page, "так")
    shows(page, "#error", error)
    assert heard(page) == 0
    assert page.is_disabled("#stop")
    page.click("#language")
    shows(page, "#error", "The server")
    page.click("#language")
    shows(page, "#error", error)
    page.unroute("**/tts")
    page.click("#speak")
    shows(page, "#state", HEARD)
    is_empty(page, "#error")
    assert page.is_visible("#download")
    page.route("**/tts", lambda route: route.fulfill(**reply))
    page.click("#speak")
    shows(page, "#error", error)
    assert page.is_hidden("#download"), "that would be another speech"


def test_nothing_of_a_long_text_is_cut_off(page: Page, url: str) -> None:
    page.goto(url)
    page.focus("#text")
    page.keyboard.insert_text("так " * 25_001)
    page.click("#speak")
    shows(page, "#error", "Text has 100004 characters; at speed 1 the limit is 100000")


def test_a_busy_server_is_asked_again(page: Page, url: str) -> None:
    page.goto(url)
    page.route(
        "**/tts",
        lambda route: route.fulfill(
            status=503, json={"error": "Overloaded: no place"}, headers={"Retry-After": "0"}
        ),
        times=1,
    )
    speak(page, "так")
    shows(page, "#state", HEARD)
    said = "Сервер відмовив (503): Overloaded: no place. Пробую ще раз…"
    assert told(page) == ["Готується…", said, "Готується…", "Звучить.", HEARD]


def test_where_the_browser_wants_a_click_there_is_a_button(
    playwright: Playwright, url: str
) -> None:
    with (
        launched(playwright, CLICK_FIRST) as browser,
        opened(browser, locale="uk-UA") as page,
    ):
        page.add_init_script(LISTEN)
        # Not by Playwright, whose every call counts as a click: to look at the page does, too.
        page.add_init_script("""addEventListener("load", () => {
            const state = document.getElementById("state");
            const tell = () => console.log(`state: ${state.textContent}`);
            new MutationObserver(tell).observe(state, {childList: true, characterData: true});
            document.getElementById("text").value = "так";
            document.getElementById("speech").dispatchEvent(new Event("input"));
            document.getElementById("speak").click();
        })""")
        with page.expect_console_message(
            lambda message: "натисніть «Слухати»" in message.text, timeout=DEADLINE * 1000
        ):
            page.goto(url)
        assert focused(page) == "resume"
        page.keyboard.press("Enter")
        shows(page, "#state", HEARD)
        assert page.is_hidden("#resume")
        assert focused(page) == "speak"
        assert heard(page) > 0


def test_the_state_of_the_server_is_live(page: Page, serve: Callable[..., Harness]) -> None:
    engine = FakeEngine()
    engine.answer = lambda _: tone(0.05, 200.0)
    engine.hold_warm_up()
    server = serve(engine)
    page.clock.install()
    page.goto(server.url)
    shows(page, "#health", "Завантажується")
    engine.release()
    until(lambda: server.worker.snapshot().ready, "the engine was loaded")
    page.clock.fast_forward(LOOKS)
    shows(page, "#health", "Готовий · голос: fake, cpu")
    engine.hold()
    with ThreadPoolExecutor(2) as clients:
        asked = [clients.submit(say, server.url, one) for one in ("раз", "два")]
        until(lambda: server.worker.snapshot().queued == 1, "one waits for the other")
        page.clock.fast_forward(LOOKS)
        shows(page, "#health", "Говорить · у черзі: 1")
        engine.release()
        assert [one.result().status_code for one in asked] == [200, 200]
    page.clock.fast_forward(LOOKS)
    shows(page, "#health", "Готовий")
    server.stop()
    page.clock.fast_forward(LOOKS)
    shows(page, "#health", "Сервер не відповідає")


def test_it_says_why_another_voice_speaks(
    page: Page, launch: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    process = launch("--port", "0", "--model-dir", str(tmp_path), engine="auto")
    page.goto(process.wait_until_ready())
    shows(page, "#notice", "Голос не такий, як замовлено: ")
    shows(page, "#notice", "make neural")


class _Other(BaseHTTPRequestHandler):
    """A page of another server on this machine, which has the client from the speech service."""

    speech = ""

    def do_GET(self) -> None:
        body = f"""<!doctype html><title>other</title><p id="result"></p><script type="module">
            import {{ TtsManager }} from "{self.speech}/static/js/modules/tts-manager.js";
            const tts = new TtsManager({{ server: "{self.speech}/", language: "en" }});
            result.textContent = await tts.speak("так", {{ voice: "lada" }}).catch(String);
        </script>"""
        self.send_response(200 if self.path == "/" else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


def test_a_page_of_another_server_may_import_the_client(page: Page, url: str) -> None:
    handler = type("Other", (_Other,), {"speech": url})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            page.goto(f"http://localhost:{server.server_port}/")
            shows(page, "#result", "true")
            assert heard(page) > 0
        finally:
            server.shutdown()
            thread.join()
