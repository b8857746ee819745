"""The front door as gRPC and gRPC-Web clients meet it."""

import base64
import struct
from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx
import pytest
from google.api import httpbody_pb2
from google.rpc import status_pb2

from crm.common.v1 import import_pb2
from crm.customer.v1 import account_pb2, account_pb2_grpc, event_pb2_grpc, import_pb2_grpc


async def test_native_grpc_works_with_a_token_a_key_and_rich_errors(
    channel: grpc.aio.Channel, gate: Any
) -> None:
    stub = account_pb2_grpc.AccountServiceStub(channel)
    for credentials in (gate.headers()["authorization"], f"Bearer {gate.api_key}"):
        metadata = (("authorization", credentials),)
        request = account_pb2.GetAccountRequest(name="accounts/42")
        assert (await stub.GetAccount(request, metadata=metadata)).name == "accounts/42"
        assert gate.last["authorization"].startswith("Bearer eyJ")
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stub.GetAccount(
            account_pb2.GetAccountRequest(name="accounts/missing"), metadata=metadata
        )
    trailers = dict(error.value.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    assert status.details[0].type_url.endswith("ErrorInfo")


async def test_native_grpc_streams_both_ways(channel: grpc.aio.Channel, gate: Any) -> None:
    async def pieces() -> AsyncIterator[import_pb2.CreateUploadRequest]:
        for _ in range(8):
            body = httpbody_pb2.HttpBody(data=b"x" * (1 << 20))
            yield import_pb2.CreateUploadRequest(file=body)

    metadata = tuple(gate.headers().items())
    uploads = import_pb2_grpc.ImportServiceStub(channel)
    assert (await uploads.CreateUpload(pieces(), metadata=metadata)).size_bytes == 8 << 20
    events = event_pb2_grpc.EventServiceStub(channel)
    from crm.common.v1 import event_pb2  # noqa: PLC0415

    stream = events.StreamEvents(event_pb2.StreamEventsRequest(), metadata=metadata)
    assert [event.cursor async for event in stream] == ["0", "1", "2"]


async def test_grpc_gets_grpc_errors_from_the_gateway(channel: grpc.aio.Channel) -> None:
    nowhere = channel.unary_unary("/crm.common.v1.FeedService/GetHead")
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await nowhere(b"")
    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED
    stub = account_pb2_grpc.AccountServiceStub(channel)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stub.GetAccount(
            account_pb2.GetAccountRequest(), metadata=(("authorization", "Bearer rubbish"),)
        )
    assert error.value.code() == grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("kind", ["application/grpc-web+proto", "application/grpc-web-text"])
async def test_grpc_web_works_binary_and_as_text(rest: httpx.AsyncClient, kind: str) -> None:
    text = kind.endswith("text")
    message = account_pb2.GetAccountRequest(name="accounts/42").SerializeToString()
    body = b"\0" + struct.pack(">I", len(message)) + message
    answer = await rest.post(
        "/crm.customer.v1.AccountService/GetAccount",
        content=base64.b64encode(body) if text else body,
        headers={"content-type": kind, "accept": kind, "x-grpc-web": "1"},
    )
    content = base64.b64decode(answer.content) if text else answer.content
    length = struct.unpack(">I", content[1:5])[0]
    account = account_pb2.Account.FromString(content[5 : 5 + length])
    assert account.display_name == "Acme"
    assert b"grpc-status:0" in content[5 + length :]
