"""Every peer there is, in the order of the tables."""

from collections.abc import Sequence

from benchmarks.peers.atlasctl import Atlasctl
from benchmarks.peers.layout import Peer
from benchmarks.peers.pm2 import Pm2
from benchmarks.peers.python import BareLoop, Circus, Supervisord
from benchmarks.peers.scandirs import S6, Daemontools, Runit

LIMIT = BareLoop().name
FROM_PYPI = {"supervisord": "supervisor", "circus": "circus"}


def peers(codes: Sequence[str], cache: str) -> list[Peer]:
    """Return atlasctl from each checkout, then the others."""
    ours: list[Peer] = [
        Atlasctl("atlasctl" if at == 0 else f"atlasctl {at + 1}", code)
        for at, code in enumerate(codes)
    ]
    return [
        *ours,
        Supervisord(cache),
        Circus(cache),
        Pm2(cache),
        S6(),
        Runit(),
        Daemontools(),
        BareLoop(),
    ]
