"""atlasctl: a supervisor and launcher for local AI services."""

__version__ = "0.1.0"
