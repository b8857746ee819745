"""gRPC reflection (v1 and v1alpha) over the built contracts, for grpcurl and its like."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, text_format
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from gateway.descriptors import descriptor_set
from gateway.messages import messages
from gateway.routes import RouteTable

_ALPHA = "grpc.reflection.v1alpha"
_STABLE = "grpc.reflection.v1"


def add_reflection(server: grpc.aio.Server, routes: RouteTable) -> None:
    """Offers reflection on `server`: lists the routed services, knows every contract."""
    names = [
        *routes.grpc_services,
        "grpc.health.v1.Health",
        f"{_ALPHA}.ServerReflection",
        f"{_STABLE}.ServerReflection",
    ]
    servicer: Any = reflection.aio.ReflectionServicer(names, pool=_pool())

    async def answer(pieces: AsyncIterator[bytes], context: Any) -> AsyncIterator[Any]:
        requests = messages(pieces, reflection_pb2.ServerReflectionRequest, context)
        async for response in servicer.ServerReflectionInfo(requests, context):
            yield response

    # The two versions differ in their package only; the messages are the same on the wire.
    handler: Any = grpc.stream_stream_rpc_method_handler(
        answer,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for package in (_ALPHA, _STABLE):
        service = f"{package}.ServerReflection"
        methods = {"ServerReflectionInfo": handler}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))


def _pool() -> descriptor_pool.DescriptorPool:
    files = [*descriptor_set().file]
    for descriptor in (health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR):
        file = descriptor_pb2.FileDescriptorProto()
        descriptor.CopyToProto(file)
        files.append(file)
    files.append(_stable(files[-1]))
    pool = descriptor_pool.DescriptorPool()
    for file in files:
        pool.Add(file)
    return pool


def _stable(alpha: descriptor_pb2.FileDescriptorProto) -> descriptor_pb2.FileDescriptorProto:
    """The v1 file, made from the v1alpha file, which is the only one in the library."""
    text = text_format.MessageToString(alpha).replace("v1alpha", "v1")
    return text_format.Parse(text, descriptor_pb2.FileDescriptorProto())
