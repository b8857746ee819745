"""Reads the errors that callers get; each function fails if the answer is none of ours."""

import grpc
import httpx
from google.rpc import error_details_pb2, status_pb2


def problem(answer: httpx.Response) -> tuple[int, int, str]:
    """HTTP status, code and reason of a google.rpc.Status in JSON."""
    assert answer.headers["content-type"].startswith("application/json"), answer.text
    body = answer.json()
    info = next(d for d in body["details"] if d["@type"].endswith("google.rpc.ErrorInfo"))
    assert body["message"]
    assert info["domain"]
    return answer.status_code, body["code"], info["reason"]


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """HTTP status and reason of a google.rpc.Status in JSON."""
    status, _, reason = problem(answer)
    return status, reason


def grpc_reason(error: grpc.aio.AioRpcError) -> str:
    """The reason of a google.rpc.Status in the trailers."""
    trailers = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    assert status.code == error.code().value[0]
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain
    return info.reason
