"""The pages that people read, and what stands in them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

CHECKOUT = Path(__file__).parents[2]
PAGES = [
    CHECKOUT / "README.md",
    *sorted((CHECKOUT / "docs").glob("*.md")),
    CHECKOUT / "benchmarks" / "README.md",
]


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: its text, where it stands, and the file that it is of, if it is of one."""

    page: Path
    line: int
    text: str
    file: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(CHECKOUT)}:{self.line}"


@cache
def parsed(page: Path) -> list[Token]:
    """Return the tokens of a page, tables included."""
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))


def blocks(language: str) -> list[Block]:
    """Return every block of a language, of all pages."""
    return [
        Block(page, token.map[0] + 1, token.content, token.info.partition(" ")[2])
        for page in PAGES
        for token in parsed(page)
        if token.type == "fence" and token.info.split()[:1] == [language] and token.map
    ]


def inline(page: Path, kind: str) -> Iterator[Token]:
    """Yield the inline tokens of a kind: `code_inline`, `link_open`, `image`."""
    for token in parsed(page):
        yield from (child for child in token.children or () if child.type == kind)


def anchors(page: Path) -> list[str]:
    """Return the anchors that the headings of a page have, as GitHub makes them."""
    tokens = parsed(page)
    titles = [
        "".join(child.content for child in after.children or ())
        for token, after in pairwise(tokens)
        if token.type == "heading_open"
    ]
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]
