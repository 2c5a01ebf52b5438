"""Letters for tests."""

from supervisor.notify.mailbox import Letter


def letter(
    service: str = "tts", event: str = "failed", seq: int = 1, at: float = 1000.0, text: str = "why"
) -> Letter:
    """Return a letter about one happening."""
    return Letter(service, event, text, seq, at, at, run=3)
