"""HTTP and JSON over a Unix socket between the daemon and its clients."""
