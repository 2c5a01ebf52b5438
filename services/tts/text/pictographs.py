"""Drops emoji, whole sequences at once.

Works from Unicode ranges and not from the `emoji` package: that costs 20 ms of start-up for names
nobody here reads, and misses the emoji that are newer than the package.
"""

import re
from typing import Final

# Invisible joiners and tag characters are gone by now (`characters.clean`), so what is left of a
# sequence is its parts, and each of them lies in a range below.
_PICTOGRAPH: Final = re.compile(
    "(?:[0-9#*]\ufe0f?\u20e3"  # keycaps
    "|[\u2190-\u21ff]\ufe0f"  # arrows asked for as pictures
    "|[\u231a\u231b\u2328\u23cf\u23e9-\u23ff\u24c2\u25aa\u25ab\u25b6\u25c0\u25fb-\u25fe]"
    "|[\u2600-\u27bf\u2b00-\u2bff\u3030\u303d\u3297\u3299]"
    "|[\U0001f000-\U0001faff]"
    "|[\U000e0000-\U000e0fff]"
    "|[\ufe0e\ufe0f\u200d\u20e3])+"
)


def without_emoji(text: str) -> str:
    """Returns the text with a space where emoji stood, so that the words around them stay apart."""
    return _PICTOGRAPH.sub(" ", text)
