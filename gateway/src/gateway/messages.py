"""Reads the messages of the edge's own gRPC methods: broken ones get an answer with a reason.

To the library every method takes a stream of bytes: a message that it cannot read is UNKNOWN to it,
and one that never comes it never answers.
"""

from collections.abc import AsyncIterator
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2

from gateway.statuses import status_bytes


async def messages(
    pieces: AsyncIterator[bytes], kind: type[Message], context: Any
) -> AsyncIterator[Any]:
    """The messages of a call; ends it with INVALID_ARGUMENT at one that is no `kind`."""
    async for piece in pieces:
        try:
            message = kind.FromString(piece)
        except DecodeError:
            await refuse(context, f"The message is not a {kind.DESCRIPTOR.full_name}.")
        yield message


async def one_message(pieces: AsyncIterator[bytes], kind: type[Message], context: Any) -> Any:
    """The only message of a call; ends it with INVALID_ARGUMENT if there is none."""
    message = await anext(messages(pieces, kind, context), None)
    if message is None:
        await refuse(context, "There is no message, or it ends early.")
    return message


async def refuse(
    context: Any,
    message: str,
    code: int = code_pb2.INVALID_ARGUMENT,
    reason: str = "MALFORMED_MESSAGE",
) -> NoReturn:
    """Ends the call with an error that has a reason."""
    status = grpc.StatusCode[code_pb2.Code.Name(code)]
    details = ("grpc-status-details-bin", status_bytes(code, reason, message))
    await context.abort(status, message, (details,))
    raise AssertionError  # abort does not return
