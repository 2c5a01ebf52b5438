"""What can go wrong with a model's file, in words, and what to do about it."""


class ModelError(Exception):
    """One file (or all of them) cannot be had; `hint` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UnreachableError(ModelError):
    """Nothing could be asked of the server: offline, no such name, a proxy that is not there."""


class ChangedError(ModelError):
    """The server has another file than the one that was recorded."""


class TransientError(Exception):
    """This attempt failed and another one may not; `pause` is what the server asks for, seconds."""

    def __init__(self, why: str, pause: float | None = None, *, reached: bool = True) -> None:
        super().__init__(why)
        self.why = why
        self.pause = pause
        self.reached = reached
        """Whether the server answered at all."""
