"""The services that the default system runs; each knows nothing of the supervisor."""
