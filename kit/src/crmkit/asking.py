"""Asking another service to do something, with the rights of whoever the work is done for."""

from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from crmkit.call import Call
from crmkit.contract import Method
from crmkit.errors import (
    Aborted,
    AlreadyExists,
    DeadlineExceeded,
    FailedPrecondition,
    Failure,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)

_SECONDS = 10.0
_FAILURES: dict[str, type[Failure]] = {
    kind.status: kind
    for kind in (
        Aborted, AlreadyExists, DeadlineExceeded, FailedPrecondition, InvalidArgument, NotFound,
        PermissionDenied, ResourceExhausted, Unauthenticated, Unavailable,
    )
}  # fmt: skip


async def ask(call: Call, method: Method, request: Any) -> Any:
    """Calls a method of another service; before a transaction.

    Raises:
        Failure: What the service refused it for, with its reason; Unavailable where it did not answer as
            it should.
    """
    try:
        return await call.home.clients.call(
            method.service,
            method.path,
            request,
            method.output,
            metadata=call.metadata_for_others(),
            timeout=_SECONDS,
        )
    except grpc.aio.AioRpcError as error:
        raise failure_from(error) from error


def failure_from(error: grpc.aio.AioRpcError) -> Failure:
    """The failure that another service's status means."""
    kind = _FAILURES.get(error.code().name, Unavailable)
    return kind(error.details() or error.code().name, reason=_reason_in(error))


def _reason_in(error: grpc.aio.AioRpcError) -> str:
    trailers = dict(error.trailing_metadata() or ())
    details = trailers.get("grpc-status-details-bin")
    if isinstance(details, bytes):
        info = error_details_pb2.ErrorInfo()
        for detail in status_pb2.Status.FromString(details).details:
            if detail.Unpack(info):
                return str(info.reason)
    return error.code().name
