"""Unused loopback ports for servers that this machine starts for itself."""

import random
import socket

_FIRST, _LAST = 10_001, 32_000
_given: set[int] = set()


def free_port() -> int:
    """An unused loopback port: odd, and below the range from which the system picks client ports.

    An even port of that range can connect to itself while a client retries, and is then never free.
    No process is given a port twice: the server for which it asked first may not listen yet.
    """
    for _ in range(1000):
        port = random.randrange(_FIRST, _LAST, 2)  # noqa: S311 - not a secret
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            _given.add(port)
            return port
    msg = "no free port between 10001 and 31999"
    raise RuntimeError(msg)
