"""What can go wrong between a text and its sound."""


class SpeechError(Exception):
    """There is no sound, or not all of it; the message says why.

    `passes`: the same request may succeed a little later, after `retry_after` seconds at least.
    `mendable`: what was asked for cannot be had; whoever asked can mend that.
    """

    def __init__(
        self,
        message: str,
        *,
        passes: bool = False,
        retry_after: float = 0.0,
        mendable: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.passes = passes
        self.retry_after = retry_after
        self.mendable = mendable


class CancelledError(Exception):
    """Nobody wants to hear it any more."""
