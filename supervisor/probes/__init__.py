"""One module a probe type; each returns one `ProbeResult`."""
