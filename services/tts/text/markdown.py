"""Turns Markdown into plain lines: a line for each heading, item, table row and paragraph.

Fenced code, images and HTML tags are dropped; inline code, labels of links and the text inside tags
are kept. What only looks like Markdown loses no words.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

from services.tts.text.numerals import cardinal

_BREAK: Final = "\n"
_DEEPEST: Final = 60
"""Levels of nesting. Beyond its own limit markdown-it drops the content without a word."""

_PLAIN: Final = re.compile(r"[^*_`~\[\]<>#|&\\!\n+\-)=.]*")
_TIMES: Final = re.compile(r"(?<=\d)( ?)\*( ?)(?=\d)")
_BRACKET_NAME: Final = re.compile(
    r"^( {0,3})\[(?=[^\]\n]{1,200}\]:(?!\s*(?:<|/|#|www\.|\w+://)))", re.M
)
_TAG: Final = re.compile(r"<(/?)([a-z][a-z0-9-]*)", re.IGNORECASE)
_BREAKING_TAGS: Final = frozenset(
    [
        "br",
        "p",
        "div",
        "li",
        "ul",
        "ol",
        "tr",
        "table",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "blockquote",
        "section",
        "article",
    ]
)
_CELL_TAGS: Final = frozenset(("td", "th"))
_SILENT_TAGS: Final = frozenset(("script", "style"))
# Brackets and exclamation marks in these numbers are no links, and markdown-it looks for the end
# of each of them again from its beginning.
_BRACKET_RUN: Final = re.compile(r"(?:!?\[){8,}")


def plain_text(text: str) -> str:
    """Returns the words of a Markdown document, one block a line."""
    if _PLAIN.fullmatch(text):
        return text
    source = _TIMES.sub(r"\1×\2", text)
    source = _BRACKET_NAME.sub(r"\1\\[", source)
    source = _BRACKET_RUN.sub(" ", source)
    tokens = _parser().parse(source)
    if any(token.level >= _DEEPEST - 4 for token in tokens):
        return text
    return "\n".join(_lines(tokens))


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    # Indented lines are mostly prose that somebody indented, and an HTML block would swallow the
    # text inside its tags, so neither is recognised.
    parser = MarkdownIt("commonmark", {"maxNesting": _DEEPEST})
    return parser.enable(["table", "strikethrough"]).disable(["code", "html_block"])


def _lines(tokens: Sequence[Token]) -> Iterator[str]:
    row: list[str] | None = None
    marker = ""
    for token in tokens:
        if token.type == "tr_open":
            row = []
        elif token.type == "tr_close":
            yield ", ".join(filter(None, row or ()))
            row = None
        elif token.type == "list_item_open":
            # A number is part of what was written; a bullet is not.
            marker = f"{cardinal(token.info)}, " if token.info.isdecimal() else ""
        elif token.type == "inline":
            words = _unwrapped(_inline(token.children or ()))
            if row is not None:
                row.append(words.replace("\n", " ").strip().rstrip(".,;:"))
            elif words.strip():
                yield marker + words.lstrip()
                marker = ""


def _inline(tokens: Sequence[Token]) -> str:
    parts: list[str] = []
    silent = ""
    for token in tokens:
        tag = _TAG.match(token.content) if token.type == "html_inline" else None
        name = tag[2].lower() if tag else ""
        if silent:
            silent = "" if tag and tag[1] and name == silent else silent
        elif token.type in ("text", "code_inline", "text_special"):
            parts.append(token.content)
        elif token.type == "softbreak":
            parts.append("\n")
        elif token.type == "hardbreak" or name in _BREAKING_TAGS:
            parts.append("\r")
        elif name in _CELL_TAGS:
            parts.append(", ")
        elif tag and not tag[1] and name in _SILENT_TAGS:
            silent = name
    return "".join(parts)


def _unwrapped(words: str) -> str:
    """Joins the lines that were wrapped in the middle of a sentence; `\\r` is a wanted break.

    A line that begins with a small letter goes on the one before: other line ends are how people
    write verses, lists without bullets and messages.
    """
    parts: list[str] = []
    for paragraph in words.split("\r"):
        for number, line in enumerate(map(str.strip, paragraph.split("\n"))):
            if line:
                goes_on = number > 0 and line[0].islower()
                parts.append(f"{' ' if goes_on else _BREAK}{line}")
    return "".join(parts).strip()
