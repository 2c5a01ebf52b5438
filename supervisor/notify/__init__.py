"""Telling people and collectors what happens: the daemon's courier, a process of its own.

    daemon ── keeper ──starts──▶ courier ──▶ webhooks, desktop, commands, file for Prometheus
       └──── journal (disk, control socket) ────▲

The daemon opens no TCP connection and imports no HTTP client; the courier may hang, be killed or
never come up, and no service notices. What is still to be told is in a file of the state folder,
so that neither's death loses or doubles a notification. `mailbox` and `happenings` are pure.
"""
