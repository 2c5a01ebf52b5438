"""What is seen on the page of a dashboard, in a real browser."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page


def states(page: "Page") -> list[str]:
    return page.locator("#rows .state").all_inner_texts()


def text_of(page: "Page", selector: str) -> str:
    return page.locator(selector).inner_text()


def wait(page: "Page", expression: str) -> None:
    """Wait until a JavaScript expression holds."""
    page.wait_for_function(f"() => {expression}")


def has(page: "Page", selector: str, text: str) -> None:
    """Wait until an element has this text in it."""
    page.locator(selector, has_text=text).first.wait_for()
