"""Speech engines, one a module, all behind the seam in `services.tts.engine`."""
