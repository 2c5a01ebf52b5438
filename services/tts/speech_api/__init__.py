"""The speech API as OpenAI has it, so that clients written for that one speak to this server."""

from services.tts.speech_api.failure import Failure, covers
from services.tts.speech_api.routes import blueprint

__all__ = ["Failure", "blueprint", "covers"]
