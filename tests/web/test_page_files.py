"""How the speech page is served: to browsers, under a strict policy, whole."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from services.tts import web
from tests.tts.doubles import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.tts.conftest import Harness

WEB = Path(web.__file__).parent
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
STATIC = sorted(
    path.relative_to(WEB).as_posix()
    for path in (WEB / "static").rglob("*.*")
    if path.name != "package.json"  # tells Node, and nobody else, that these are modules
)


def get(url: str, path: str, **headers: str | None) -> requests.Response:
    return requests.get(
        f"{url}{path}",
        headers={"Connection": "close", **{k.replace("_", "-"): v for k, v in headers.items()}},
        timeout=PATIENCE,
    )


@pytest.mark.parametrize(
    ("accept", "is_page"),
    [
        (BROWSER, True),
        ("text/html", True),
        ("TEXT/HTML;q=0.1", True),
        ("text/html;q=0", False),
        ("*/*", False),
        ("text/*", False),
        ("application/json", False),
        (None, False),
    ],
)
def test_the_page_is_for_who_asks_for_html(
    serve: Callable[..., Harness],
    accept: str | None,
    is_page: bool,
) -> None:
    answer = get(serve().url, "/", Accept=accept)
    if is_page:
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.text.startswith("<!doctype html>")
        assert {"Accept", "Origin"} <= set(re.split(r", *", answer.headers["Vary"]))
    else:
        assert answer.status_code == 404
        assert answer.json() == {"error": "Endpoint not found"}


@pytest.mark.parametrize("path", ["/", *(f"/{name}" for name in STATIC)])
def test_every_file_is_served_strictly(
    serve: Callable[..., Harness],
    path: str,
) -> None:
    url = serve().url
    answer = get(url, path, Accept=BROWSER)
    assert answer.status_code == 200
    suffix = path.rpartition(".")[2] if path != "/" else "html"
    assert answer.headers["Content-Type"].partition(";")[0] == {
        "css": "text/css",
        "html": "text/html",
        "js": "text/javascript",
        "svg": "image/svg+xml",
    }.get(suffix)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "media-src blob:" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-cache"
    again = get(url, path, Accept=BROWSER, If_None_Match=answer.headers["ETag"])
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/static/",
        "/static/nope.js",
        "/static/js/package.json",
        "/static/js/../../__init__.py",
        "/static/..%2f__init__.py",
        "/static//etc/passwd",
        "/index.html",
        "/__init__.py",
    ],
)
def test_nothing_else_is(serve: Callable[..., Harness], path: str) -> None:
    url = serve().url
    # By hand: requests would tidy the dots away.
    request = requests.Request("GET", url, headers={"Accept": BROWSER, "Connection": "close"})
    prepared = request.prepare()
    prepared.url = f"{url}{path}"
    with requests.Session() as session:
        answer = session.send(prepared, timeout=PATIENCE)
    assert answer.status_code == 404
    assert answer.json()["error"] == "Endpoint not found"


def test_a_rebound_name_gets_no_page(serve: Callable[..., Harness]) -> None:
    assert get(serve().url, "/", Accept=BROWSER, Host="evil.example").status_code == 403


def test_pages_of_this_machine_may_import_the_client(
    serve: Callable[..., Harness],
) -> None:
    answer = get(serve().url, "/static/js/modules/tts-manager.js", Origin="http://localhost:5173")
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:5173"


class _Addresses(HTMLParser):
    """Every address that the page loads, and whatever its policy would refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = dict(attributes)
        if tag in ("script", "style") and "src" not in named:
            self.inline.append(tag)
        self.inline += [name for name in named if name == "style" or name.startswith("on")]
        self.found += [value for name in ("src", "href") if (value := named.get(name))]


def test_the_page_needs_nothing_from_elsewhere() -> None:
    page = _Addresses()
    page.feed((WEB / "index.html").read_text(encoding="utf-8"))
    assert page.inline == []
    assert {f"/{name}" for name in STATIC} >= {
        address for address in page.found if not address.startswith("#")
    }
    for name in STATIC:
        content = re.sub(r"(?m)^// .*", "", (WEB / name).read_text(encoding="utf-8"))
        imported = re.findall(r"""(?:from|import\()\s*["']([^"']+)["']""", content)
        assert all(one.startswith("./") for one in imported), (name, imported)
        elsewhere = re.findall(r"""(?:url\(|@import|["'])\s*["']?(?:https?:)?//[\w.]+""", content)
        assert [one for one in elsewhere if "www.w3.org" not in one] == [], name


def test_without_its_files_there_is_speech_and_no_page(
    serve: Callable[..., Harness],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(web, "__file__", str(tmp_path / "__init__.py"))
    url = serve().url
    assert get(url, "/", Accept=BROWSER).status_code == 404
    assert get(url, "/health").status_code == 200
