"""The Ukrainian text-to-speech service."""
