"""`python -m crmkit.health HOST:PORT`: asks a service whether it serves; the exit status answers.

Health checks of containers run this: it needs neither a shell nor a program of the system.
"""

import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_SECONDS = 3.0


def serving(address: str) -> bool:
    """Whether the service at `host:port` says SERVING; an unreachable one does not."""
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=_SECONDS)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


if __name__ == "__main__":
    sys.exit(not serving(sys.argv[1]))
