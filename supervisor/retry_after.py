"""The Retry-After header of HTTP (RFC 9110, 10.2.3)."""

import re
from email.utils import parsedate_to_datetime


def seconds(given: str, date: str) -> float | None:
    """Return for how long a server asks to be left alone; None where it does not say.

    `given` is the header, a number of seconds or a moment, which is measured by the server's own
    clock: `date` is its Date header. Either may be empty. The caller says how much is heeded.
    """
    if re.fullmatch(r"[0-9]{1,9}", given):
        return float(given)
    try:
        left = parsedate_to_datetime(given) - parsedate_to_datetime(date)
    except (ValueError, TypeError):
        return None
    return max(0.0, left.total_seconds())
