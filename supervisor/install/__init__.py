"""Login items: how launchd and systemd are told to start the supervisor when its user logs in."""
