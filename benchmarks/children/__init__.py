"""Programs that the measurements start: the services, the keeper and the bare loop."""
