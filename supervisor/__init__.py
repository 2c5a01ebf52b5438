"""atlasctl: a supervisor and launcher for local AI services."""
