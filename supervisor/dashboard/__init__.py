"""The web page of a system: a client of the control socket that runs as an ordinary service.

Never part of the daemon: what goes wrong here cannot hurt supervision.
"""
