"""For how long a server asks to be left alone."""

import pytest

from supervisor import retry_after

NOW = "Thu, 26 Nov 2026 21:00:00 GMT"


@pytest.mark.parametrize(
    ("given", "date", "seconds"),
    [
        ("0", "", 0.0),
        ("120", NOW, 120.0),
        ("Thu, 26 Nov 2026 21:01:30 GMT", NOW, 90.0),
        ("Thu, 26 Nov 2026 20:00:00 GMT", NOW, 0.0),
        ("Thu, 26 Nov 2026 21:01:30 GMT", "", None),
        ("Thu, 26 Nov 2026 21:01:30", NOW, None),  # of no time zone
        ("", NOW, None),
        ("-1", NOW, None),
        ("1.5", NOW, None),
        ("1" * 10, NOW, None),
        ("soon", NOW, None),
    ],
)
def test_retry_after(given: str, date: str, seconds: float | None) -> None:
    assert retry_after.seconds(given, date) == seconds
