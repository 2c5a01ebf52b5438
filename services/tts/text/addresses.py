"""Says that there is a link or an e-mail address, instead of spelling it out.

A bare domain ("rozetka.com.ua") is a name people do say: it is left for verbalisation.
"""

import re
from typing import Final

LINK: Final = "посилання"
MAIL: Final = "електронна адреса"

# Possessive quantifiers and the lookbehinds keep both linear: without them a long run of letters
# with no "@" is scanned again from each of its letters.
_URL: Final = re.compile(
    r"(?:(?<![a-z0-9])(?:https?|ftp|file|ssh|git|wss?)://|(?<![\w.])www\.)[^\s<>\"«»“”„]++"
    r"|(?<![\w.@/-])(?:[a-z0-9-]++\.)++[a-z]{2,10}(?::\d{1,5})?/[^\s<>\"«»“”„]*+",
    re.IGNORECASE,
)
_MAIL: Final = re.compile(
    r"(?:mailto:)?(?<![\w.+%-])[\w+%-]++(?:\.[\w+%-]++)*+@[\w-]++(?:\.[\w-]++)++", re.IGNORECASE
)
_TRAILING: Final = ".,;:!?…'*_~"
_BRACKETS: Final = {")": "(", "]": "[", "}": "{"}


def with_addresses_named(text: str) -> str:
    """Returns the text with a word for every URL and e-mail address; punctuation after it stays."""
    return _MAIL.sub(MAIL, _URL.sub(_named, text))


def _named(found: re.Match[str]) -> str:
    return LINK + found[0][_length(found[0]) :]


def _length(url: str) -> int:
    """Returns where a URL ends: a closing bracket belongs to it only if it opened one."""
    end = len(url)
    depth = {
        closing: url.count(opening) - url.count(closing) for closing, opening in _BRACKETS.items()
    }
    while end:
        last = url[end - 1]
        if last in _TRAILING:
            end -= 1
        elif last in _BRACKETS and depth[last] < 0:
            depth[last] += 1
            end -= 1
        else:
            break
    return end
