"""Unused loopback ports for servers that this machine starts for itself."""

import random
import socket

_FIRST, _LAST = 20_001, 30_000


def free_port() -> int:
    """An unused loopback port: odd, and below the range from which the system picks client ports.

    An even port of that range can connect to itself while a client retries, and is then never free.
    """
    for _ in range(1000):
        port = random.randrange(_FIRST, _LAST, 2)  # noqa: S311 - not a secret
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    msg = "no free port between 20001 and 29999"
    raise RuntimeError(msg)
